"""`serve --dev`: a database set up by itself, one key, and a first request to paste."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from policy_engine import bootstrap
from policy_engine.cli.database import opened
from policy_engine.cli.pack_folder import usable_pack
from policy_engine.core.policy import Pack
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import Settings
from policy_engine.usecases.principals import Scope

_CLIENT = "development"
BY_DEVELOPMENT = "serve --dev"
_LATE = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Development:
    """What is told when the service is up."""

    key: str
    role: str
    incident_type: str

    def welcome(self, address: str) -> str:
        """The key and a complete request: an order that is six days late."""
        body = json.dumps(_late_order(self.role, self.incident_type), indent=2)
        return (
            f"\nDevelopment key (for this run, on this machine):\n\n  {self.key}\n\n"
            "A first decision, for an order that is six days late:\n\n"
            f"curl -sS {address}/v1/decisions \\\n"
            f"  -H 'Authorization: Bearer {self.key}' \\\n"
            "  -H 'Content-Type: application/json' \\\n"
            f"  -H 'Idempotency-Key: first-{secrets.token_hex(4)}' \\\n"
            f"  -d '{body}'\n\n"
            f"Documentation: {address}/docs\n"
        )


def prepare_development(configured: Settings) -> Development:
    """Upgrade an embedded database and make a fresh key; the keys of earlier runs end.

    Exits with the pack's errors when the folder's pack can't be used.
    """
    pack, _ = usable_pack(configured.pack_folder)
    with opened(configured, create_secret=True) as ledger:
        if configured.embedded_database:
            ledger.upgrade()
        ledger.check_schema()
        bootstrap.watch_log(configured, ledger)
        key = _only_key(ledger, _highest(pack))
    return Development(key, _lowest_with(pack, "agent"), _type(pack, "shipping_delay"))


def _only_key(ledger: Ledger, ceiling: str) -> str:
    for credential in ledger.credentials.list():
        if credential.created_by == BY_DEVELOPMENT and credential.revoked_at is None:
            ledger.credentials.revoke(credential.id, BY_DEVELOPMENT)
    scopes = frozenset(scope.value for scope in Scope)
    terms = CredentialTerms(client=_CLIENT, scopes=scopes, ceiling=ceiling)
    return ledger.credentials.create(terms, BY_DEVELOPMENT).key


def _highest(pack: Pack) -> str:
    """The role at the end of the longest approver chain."""
    longest = max((pack.approver_chain(role) for role in pack.roles), key=len)
    return longest[-1]


def _lowest_with(pack: Pack, preferred: str) -> str:
    return preferred if preferred in pack.roles else next(iter(pack.roles))


def _type(pack: Pack, preferred: str) -> str:
    types = sorted({each for policy in pack.policies for each in policy.applies_to})
    return preferred if preferred in types or not types else types[0]


def _late_order(role: str, incident_type: str) -> dict[str, object]:
    now = datetime.now(UTC).replace(microsecond=0)
    promised = now - _LATE - timedelta(hours=1)

    def at(days: int) -> str:
        return format_timestamp(promised - timedelta(days=days))

    return {
        "order": {
            "id": "SO-1",
            "currency": "CNY",
            "placed_at": at(8),
            "paid_at": at(8),
            "dispatched_at": at(6),
            "promised_delivery_by": at(0),
            "last_tracking_at": format_timestamp(now - timedelta(hours=20)),
            "delivered_at": None,
            "shipping_paid": "0.00",
            "lines": [{"id": "1", "sku": "TEA", "quantity": 2, "paid": "168.00"}],
        },
        "incident": {"types": [incident_type]},
        "customer": {"id": "C-1", "tier": "standard", "locale": "en", "name": "Li Hua"},
        "agent": {"id": "A-7", "role": role},
        "channel": "whatsapp",
    }
