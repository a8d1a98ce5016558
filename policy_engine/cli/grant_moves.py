"""`policy-engine grants approve`, `reject` and `reverse`: by a person, with their own key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import click

from policy_engine.api.grant_inputs import ApprovalSchema, RejectionSchema, ReversalSchema
from policy_engine.cli.acting import key_option, opened_for
from policy_engine.cli.frame import CommandError, verb
from policy_engine.cli.grant_page import show_grant
from policy_engine.cli.typed import typed
from policy_engine.ledger.errors import UnavailableError, UntrustedLogError
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.usecases import approving, moving, settling
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.wire.containers import StrictSchema

Act = Callable[[Services, Principal, dict[str, Any], IdempotencyKey], Answer]

_ID: Final = "01969f2e-5c1a-7d20-9f6e-2b1c6a4d8e33"

_grant_argument: Final[Callable[[Any], Any]] = click.argument("grant_id", metavar="ID")
_again_option: Final[Callable[[Any], Any]] = click.option(
    "--idempotency-key",
    "again",
    metavar="TEXT",
    help="Under which it happens once, however often it is repeated.  [default: a new one]",
)


@verb(
    f"""
    policy-engine grants approve {_ID} --note 'the parcel is lost'
    policy-engine grants approve {_ID} --amount 5.00 --note 'half of it'
    """
)
@_grant_argument
@click.option("--amount", help="Less than waits, such as 5.00: the rest is rejected.")
@click.option("--note", required=True, help="Why, for people.")
@key_option
@_again_option
def approve(
    grant_id: str,
    amount: str | None,
    note: str,
    secret: str | None,
    again: str | None,
    output: str,
) -> None:
    """Approve what waits, or a part of it.

    By somebody with the approver's role or one above it, who neither asked for the grant nor
    answers for who did. The caps of now are met once more, for that role.
    """

    def act(
        services: Services, caller: Principal, read: dict[str, Any], key: IdempotencyKey
    ) -> Answer:
        return approving.approve(
            services, caller, grant_id, key, amount=read.get("amount"), note=read["note"]
        )

    given = {"amount": amount, "note": note}
    call = _Call("approve", Scope.APPROVE, ApprovalSchema(), grant_id, given, act)
    show_grant(call.made(secret, again), output)


@verb(f"policy-engine grants reject {_ID} --reason 'it arrived in time'")
@_grant_argument
@click.option("--reason", required=True, help="Why, for people.")
@key_option
@_again_option
def reject(grant_id: str, reason: str, secret: str | None, again: str | None, output: str) -> None:
    """Reject what waits, all of it. By whoever could approve it."""

    def act(
        services: Services, caller: Principal, read: dict[str, Any], key: IdempotencyKey
    ) -> Answer:
        return approving.reject(services, caller, grant_id, key, reason=read["reason"])

    given = {"reason": reason}
    call = _Call("reject", Scope.APPROVE, RejectionSchema(), grant_id, given, act)
    show_grant(call.made(secret, again), output)


@verb(
    f"""
    policy-engine grants reverse {_ID} --reason 'it arrived after all'
    policy-engine grants reverse {_ID} --remedy coupon --amount 5.00 --reason 'sent twice'
    """
)
@_grant_argument
@click.option("--remedy", metavar="ID", help="Only this remedy of the grant, such as `coupon`.")
@click.option("--amount", help="Less than can be reversed, such as 5.00.")
@click.option("--reason", required=True, help="Why, for people.")
@key_option
@_again_option
def reverse(
    *,
    grant_id: str,
    remedy: str | None,
    amount: str | None,
    reason: str,
    secret: str | None,
    again: str | None,
    output: str,
) -> None:
    """Take back what has not been redeemed, or a part of it.

    Headroom comes back to every cap that the grant held, each in its own window. The key needs
    the scope `settle`.
    """

    def act(
        services: Services, caller: Principal, read: dict[str, Any], key: IdempotencyKey
    ) -> Answer:
        return settling.reverse(
            services,
            caller,
            grant_id,
            key,
            remedy=read.get("remedy"),
            amount=read.get("amount"),
            reason=read["reason"],
        )

    given = {"remedy": remedy, "amount": amount, "reason": reason}
    call = _Call("reverse", Scope.SETTLE, ReversalSchema(), grant_id, given, act)
    show_grant(call.made(secret, again), output)


class _Call:
    """One move of one grant, as it was typed."""

    def __init__(
        self,
        move: str,
        scope: Scope,
        schema: StrictSchema,
        grant_id: str,
        given: Mapping[str, str | None],
        act: Act,
    ) -> None:
        self._move = move
        self._scope = scope
        self._schema = schema
        self._grant_id = grant_id
        self._given = given
        self._act = act

    def made(self, secret: str | None, again: str | None) -> dict[str, Any]:
        """Carries it out; the grant afterwards. CommandError, UsageError."""
        with opened_for(secret, self._scope) as (services, caller):
            body = self._body(services, caller)
            key = self._key(caller, again or str(uuid4()))
            try:
                answer = self._act(services, caller, typed(self._schema, body), key)
            except UntrustedLogError:
                raise
            except UnavailableError as error:
                # What became of it can't be known; under the same key it can't happen twice.
                raise CommandError(
                    str(error), f"repeat it with --idempotency-key {key.key}: it happens once"
                ) from error
        if answer.replayed:
            click.echo("this had happened already under this idempotency key", err=True)
        grant: dict[str, Any] = json.loads(answer.body)
        return grant

    def _body(self, services: Services, caller: Principal) -> dict[str, Any]:
        """What was typed as HTTP would send it: an amount is in the grant's currency."""
        amount = self._given.get("amount")
        if amount is None:
            return dict(self._given)
        found = services.ledger.grants.get(self._grant_id, moving.view_of(services, caller))
        if found is None:
            raise moving.no_such_grant()
        return {**self._given, "amount": {"amount": amount, "currency": found.grant.currency}}

    def _key(self, caller: Principal, name: str) -> IdempotencyKey:
        assert caller.person is not None
        return IdempotencyKey(
            client=caller.client,
            key=name,
            # No call over HTTP: the same key there is another one's.
            method="policy-engine",
            path=f"grants {self._move} {self._grant_id}",
            query="",
            agent=f"{caller.person.id}\n{caller.person.role}",
            body=json.dumps(self._given, sort_keys=True).encode(),
        )
