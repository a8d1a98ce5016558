"""`policy-engine keys …`: API keys, shown once when they are made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from policy_engine.cli.database import by_option, opened_ledger
from policy_engine.cli.frame import CommandError, ExitCode, show_json, show_table, verb
from policy_engine.cli.ids import IdParameter, id_fault
from policy_engine.core.request import Agent
from policy_engine.core.times import TimeFormatError, format_timestamp, parse_duration
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import Credential, CredentialTerms
from policy_engine.packs.problems import listed, shown
from policy_engine.usecases.library import Library
from policy_engine.usecases.principals import Scope
from policy_engine.wire.problems import BadBodyError
from policy_engine.wire.strict_json import read_json

_ROSTER_BYTES = 4 * 1024 * 1024


@click.group(epilog="\b\nExample:\n  policy-engine keys list")
def keys() -> None:
    """Create, list and revoke API keys."""


@verb(
    """
    policy-engine keys create --client helpdesk --scope decide --act-for supervisor
    policy-engine keys create --client office --scope approve --person u-17 --role supervisor
    """
)
@click.option(
    "--client",
    required=True,
    type=IdParameter(),
    help="The name of the program that will use the key.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the key may be used for; repeat it for several.",
)
@click.option(
    "--person",
    metavar="ID",
    type=IdParameter(),
    help="The one person the key speaks for, with --role.",
)
@click.option("--role", metavar="ROLE", type=IdParameter(), help="That person's role.")
@click.option(
    "--act-for",
    metavar="ROLE",
    type=IdParameter(),
    help="Every body names its agent, up to this role.",
)
@click.option(
    "--roster",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON object of agent and highest role; with --act-for.",
)
@click.option(
    "--owner", metavar="ID", type=IdParameter(), help="The person who answers for the key."
)
@click.option("--expires-in", metavar="DURATION", help="An ISO 8601 duration, such as P90D.")
@by_option
def create(  # noqa: PLR0913 - one parameter an option
    *,
    client: str,
    scopes: tuple[str, ...],
    person: str | None,
    role: str | None,
    act_for: str | None,
    roster: Path | None,
    owner: str | None,
    expires_in: str | None,
    by: str,
    output: str,
) -> None:
    """Make an API key. It is shown this once and stored only as a hash.

    A key speaks for one person in one role (--person, --role), or for the agents that each body
    names, up to a role (--act-for). With neither it reads and administers, and decides nothing.
    """
    if (person is None) != (role is None):
        raise click.UsageError("--person and --role go together")
    try:
        terms = CredentialTerms(
            client=client,
            scopes=frozenset(scopes),
            person=None if person is None or role is None else Agent(person, role),
            ceiling=act_for,
            roster=None if roster is None else _roster(roster),
            owner=owner,
            expires_at=None if expires_in is None else _expiry(expires_in),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with opened_ledger() as ledger:
        ledger.check_schema()
        made = ledger.credentials.create(terms, by)
        warnings = _roles_lacking(ledger, terms)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if output == "json":
        show_json({**_as_json(made.credential), "key": made.key})
        return
    click.echo(made.key)
    click.echo("keep it safe: it is not shown again", err=True)


@verb("policy-engine keys list --format json")
def list_keys(output: str) -> None:
    """List all keys, revoked and expired ones too; never the keys themselves."""
    with opened_ledger() as ledger:
        ledger.check_schema()
        found = ledger.credentials.list()
    if output == "json":
        show_json([_as_json(each) for each in found])
        return
    show_table(
        ("id", "client", "scopes", "speaks for", "created", "expires", "state"),
        [
            (
                each.id,
                each.terms.client,
                ", ".join(sorted(each.terms.scopes)),
                _speaks_for(each.terms),
                _time(each.created_at),
                _time(each.terms.expires_at),
                _state(each),
            )
            for each in found
        ],
    )


@verb("policy-engine keys revoke 3f9c2a7b5e1d4c80")
@click.argument("key_id", metavar="ID")
@by_option
def revoke(key_id: str, by: str, output: str) -> None:
    """Revoke a key for good, by its id (the middle part of the key)."""
    with opened_ledger() as ledger:
        ledger.check_schema()
        revoked = ledger.credentials.revoke(key_id, by)
    if output == "json":
        show_json(_as_json(revoked))
    else:
        click.echo(f"revoked {revoked.id} of {revoked.terms.client}")


def _roster(path: Path) -> dict[str, str]:
    try:
        roster = read_json(path.read_bytes(), max_bytes=_ROSTER_BYTES)
    except BadBodyError as error:
        raise CommandError(f"`{path}`: {error.message}", code=ExitCode.USAGE) from None
    if not isinstance(roster, dict) or not all(isinstance(role, str) for role in roster.values()):
        raise CommandError(
            f"`{path}` must hold an object of agent and role",
            'such as {"u-17": "agent"}',
            ExitCode.USAGE,
        )
    for each in (*roster, *roster.values()):
        fault = id_fault(each)
        if fault is not None:
            raise CommandError(f"`{path}`: `{shown(each)}`: {fault}", code=ExitCode.USAGE)
    return dict(roster)


def _roles_lacking(ledger: Ledger, terms: CredentialTerms) -> list[str]:
    """Roles the key names and the active pack doesn't have; none where no pack can be asked."""
    active = ledger.packs.active()
    pack = None if active is None else Library(ledger.packs).load(active.revision).pack
    if pack is None:
        return []
    person = None if terms.person is None else terms.person.role
    named = dict.fromkeys((person, terms.ceiling, *(terms.roster or {}).values()))
    return [
        f"the active pack has no role `{role}`, so nothing is decided in it; "
        f"it has {listed(pack.roles)}"
        for role in named
        if role is not None and role not in pack.roles
    ]


def _expiry(text: str) -> datetime:
    try:
        length = parse_duration(text)
    except TimeFormatError as error:
        raise click.BadParameter(f"`{text}` is {error}", param_hint="--expires-in") from None
    if length.total_seconds() <= 0:
        raise click.BadParameter(f"`{text}` is over already", param_hint="--expires-in")
    return datetime.now(UTC) + length


def _speaks_for(terms: CredentialTerms) -> str:
    if terms.person is not None:
        return f"{terms.person.id} ({terms.person.role})"
    if terms.ceiling is not None:
        return f"agents up to {terms.ceiling}" + (" in its roster" if terms.roster else "")
    return "nobody"


def _state(credential: Credential) -> str:
    if credential.revoked_at is not None:
        return f"revoked {_time(credential.revoked_at)}"
    expires_at = credential.terms.expires_at
    return "expired" if expires_at is not None and expires_at <= datetime.now(UTC) else "valid"


def _time(instant: datetime | None) -> str:
    return "-" if instant is None else format_timestamp(instant.replace(microsecond=0))


def _as_json(credential: Credential) -> dict[str, object]:
    terms = credential.terms
    person = terms.person
    return {
        "id": credential.id,
        "client": terms.client,
        "scopes": sorted(terms.scopes),
        "person": None if person is None else {"id": person.id, "role": person.role},
        "act_for": terms.ceiling,
        "roster": None if terms.roster is None else dict(terms.roster),
        "owner": terms.owner,
        "created_by": credential.created_by,
        "created_at": _time(credential.created_at),
        "expires_at": None if terms.expires_at is None else _time(terms.expires_at),
        "state": _state(credential),
    }


keys.add_command(create)
keys.add_command(list_keys, "list")
keys.add_command(revoke)
