"""What pseudonyms are made of, and what sealed parts are bound to."""

from __future__ import annotations

from typing import Final

CUSTOMER: Final = "customer"
REFERENCE: Final = "reference"
EVIDENCE: Final = "evidence"
EXTERNAL_REFERENCE: Final = "external_ref"

POLICY: Final = "policy"
"""A policy that applied: no pseudonym, beside REFERENCE among what a decision is found by."""


def personal_context(record_id: str) -> str:
    """What the personal part of a record is bound to."""
    return f"personal:{record_id}"


def answer_context(record_id: str) -> str:
    """What a stored answer is bound to."""
    return f"answer:{record_id}"
