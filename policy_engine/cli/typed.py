"""What was typed, read as strictly as HTTP reads a body, with the option named that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from marshmallow import ValidationError

from policy_engine.wire.containers import StrictSchema
from policy_engine.wire.fields import problems_in
from policy_engine.wire.problems import InvalidInputError, steps_of


def typed(schema: StrictSchema, given: Mapping[str, object]) -> dict[str, Any]:
    """`given` as the schema reads it; what is None was not typed. UsageError."""
    try:
        read: dict[str, Any] = schema.load(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        problems = InvalidInputError(problems_in(error.messages)).problems
        raise click.UsageError(
            "; ".join(f"{_option(each.pointer)}: {each.message}" for each in problems)
        ) from None
    return read


def _option(pointer: str) -> str:
    steps = steps_of(pointer)
    return f"--{steps[0].replace('_', '-')}" if steps else "the options"
