"""roles.yaml: who may issue what, and who approves more."""

from __future__ import annotations

from collections.abc import Mapping

from policy_engine.core.policy import RemedyKind, Role
from policy_engine.packs.nodes import Node
from policy_engine.packs.origins import Origins
from policy_engine.packs.problems import Code, ProblemList
from policy_engine.packs.scalars import Choice, Name
from policy_engine.packs.shapes import Fields, Key, ListOf, MapOf, Named, OneOf, Table

ROLE_NAME = Name("the name of a role")
KIND_CHOICE = Choice(RemedyKind, "kind of remedy")

APPROVER = Key(
    "approver",
    ROLE_NAME,
    "The role that approves what this one may not give.",
    example="supervisor",
)
MAY: Key[str | tuple[RemedyKind, ...]] = Key(
    "may",
    OneOf(
        "`all` or a list of kinds",
        text=Name("`all`", "all", "write `all`, or a list of kinds"),
        sequence=ListOf(KIND_CHOICE, "a list of kinds", may_be_empty=True),
    ),
    "The kinds of remedy this role may issue, or `all`.",
    required=True,
    example=["coupon", "gift"],
)
ROLE = Table("a role such as `{approver: supervisor, may: all}`", (APPROVER, MAY))
ROLES = Key("roles", MapOf(ROLE_NAME, ROLE, "roles by name"), "The roles by name.", required=True)
ROLES_FILE = Table("`roles:` with roles by name", (ROLES,))


def read_roles(
    node: Node | None, origins: Origins, problems: ProblemList
) -> Mapping[str, Role] | None:
    """None when the roles are not known, so that nobody is blamed for naming one."""
    fields = None if node is None else ROLES_FILE.read(node, problems)
    if fields is None or fields.get(ROLES) is None:
        return None
    entries = fields.all(ROLES)
    names = [named.name for named in entries]
    roles: dict[str, Role] = {}
    for named in entries:
        role = _role(named, names, problems)
        roles[role.name] = role
        origins.roles.append((named.at, role))
    for named in entries:
        _check_chain(named, roles, problems)
    return roles


def _role(named: Named[Fields], names: list[str], problems: ProblemList) -> Role:
    fields = named.value
    approver = fields.get(APPROVER)
    if approver is not None and approver not in names:
        problems.unknown(fields.at(APPROVER), Code.UNKNOWN_ROLE, "role", approver, names)
        approver = None
    may = fields.get(MAY)
    kinds = frozenset(kind.value for kind in may) if isinstance(may, tuple) else None
    return Role(named.name, kinds, approver)


def _check_chain(named: Named[Fields], roles: Mapping[str, Role], problems: ProblemList) -> None:
    chain = [named.name]
    while (approver := roles[chain[-1]].approver) is not None:
        if approver == named.name and named.name == min(chain):
            circle = " → ".join(f"`{name}`" for name in [*chain, approver])
            problems.error(
                named.value.at(APPROVER),
                Code.APPROVER_CYCLE,
                f"approvers go round in a circle: {circle}; the last must have no approver",
            )
        if approver in chain:
            return
        chain.append(approver)
