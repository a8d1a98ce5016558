"""`policy-engine pack diff`: what a pack decides otherwise than another one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import CommandError, ExitCode, plain, screen, show_json, verb
from policy_engine.cli.pack_folder import REVISION, counted, usable_pack
from policy_engine.core.policy import Pack
from policy_engine.packs.differing import Change, ChangeKind, changes
from policy_engine.usecases.services import Services

_SIGN = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}
_STYLE = {ChangeKind.ADDED: "green", ChangeKind.REMOVED: "red", ChangeKind.CHANGED: "yellow"}


@verb(
    """
    policy-engine pack diff policies               (what activating it would change)
    policy-engine pack diff old-policies policies
    policy-engine pack diff sha256:9f86d081… policies
    """
)
@click.argument("packs", metavar="[BEFORE] AFTER", nargs=-1, required=True)
def diff(packs: tuple[str, ...], output: str) -> None:
    """Tell what changed between two packs: roles, caps, facts, policies, plans, messages.

    Each is a folder, or a revision that is stored in the database. With one of them, it is
    compared with the active pack. Exits 0 whether they differ or not, and 3 when one has errors.
    """
    if len(packs) > 2:
        raise click.UsageError("give one pack, or two: the one before and the one after")
    with ExitStack() as stack:
        stored = any(REVISION.fullmatch(each) for each in packs)
        services = stack.enter_context(opened_services()) if stored or len(packs) == 1 else None
        read = [_read(each, services) for each in packs]
        if len(packs) == 1:
            assert services is not None
            read.insert(0, _active(services))
    before, after = read
    found = changes(before, after)
    if output == "json":
        show_json(
            {
                "before": before.revision,
                "after": after.revision,
                "same": before.revision == after.revision,
                "changes": [asdict(each) for each in found],
            }
        )
        return
    _show(before, after, found)


def _read(which: str, services: Services | None) -> Pack:
    if REVISION.fullmatch(which):
        assert services is not None
        return _stored(which, services)
    folder = Path(which)
    if not folder.is_dir():
        raise click.BadParameter(f"`{which}` is no folder and no revision", param_hint="PACK")
    return usable_pack(folder)[0]


def _active(services: Services) -> Pack:
    active = services.ledger.packs.active()
    if active is None:
        raise CommandError(
            "no pack is active yet", "name two packs, or run `policy-engine pack activate DIR`"
        )
    return _stored(active.revision, services)


def _stored(revision: str, services: Services) -> Pack:
    pack = services.library.load(revision).pack
    if pack is None:
        raise CommandError(
            f"this release can't load the pack `{revision}`", code=ExitCode.PACK_ERRORS
        )
    return pack


def _show(before: Pack, after: Pack, found: Sequence[Change]) -> None:
    to = screen()
    to.print(plain(f"before {before.revision}\nafter  {after.revision}", "dim"))
    if not found:
        same = before.revision == after.revision
        to.print("the same pack" if same else "they decide and say the same")
        return
    for change in found:
        to.print()
        sign = _SIGN[change.kind]
        to.print(plain(f"{sign} {change.what} {change.name}: {change.kind}", _STYLE[change.kind]))
        for each in change.differences:
            match change.kind:
                case ChangeKind.CHANGED:
                    to.print(plain(f"    {each.field}: {each.before or '-'} → {each.after or '-'}"))
                case ChangeKind.ADDED:
                    to.print(plain(f"    {each.field}: {each.after}"))
                case ChangeKind.REMOVED:
                    to.print(plain(f"    {each.field}: {each.before}"))
    to.print()
    to.print(f"{counted(len(found), 'change')}")
