"""A pack's files → a `Pack`, with every problem of every file at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from policy_engine.core.policy import Pack, Policy, Role, Script
from policy_engine.packs.caps import read_caps
from policy_engine.packs.checks import check_whole
from policy_engine.packs.facts import Facts, read_facts
from policy_engine.packs.files import (
    FILE_BYTES_AT_MOST,
    FILES_AT_MOST,
    PACK_BYTES_AT_MOST,
    PackFiles,
)
from policy_engine.packs.grant_entries import GrantReader
from policy_engine.packs.messages import read_messages, read_never_say
from policy_engine.packs.nodes import MapNode, Node, ScalarNode
from policy_engine.packs.origins import Origins
from policy_engine.packs.policies import PolicyReader
from policy_engine.packs.problems import Code, Position, Problem, ProblemList
from policy_engine.packs.reading import read_yaml
from policy_engine.packs.roles import read_roles
from policy_engine.packs.settings import read_settings
from policy_engine.packs.suites import Suite, read_suite
from policy_engine.packs.versions import in_order

SPECIAL = ("pack", "facts", "roles", "caps", "never_say")
"""Files of the top level with a meaning of their own; every other one is a policy."""
_SUITES = "tests/"


@dataclass(frozen=True)
class Loaded:
    """`pack` is None when a problem is an error. Problems are sorted by file, line, column."""

    pack: Pack | None
    problems: tuple[Problem, ...]
    suites: tuple[Suite, ...]


def load_folder(folder: Path, *, strict: bool = False) -> Loaded:
    """Reads and loads a folder. Raises PackFilesError when there is no such folder."""
    return load(PackFiles.from_folder(folder), strict=strict)


def load(files: PackFiles, *, strict: bool = False, with_suites: bool = True) -> Loaded:
    """Never raises for what stands in the files. `strict`: unconfirmed parameters are errors.

    Without its suites a pack decides as well, and is read in half the time.
    """
    problems = ProblemList()
    for refusal in files.refused:
        problems.add(refusal)
    if not _within_bounds(files, problems):
        return Loaded(None, problems.sorted(), ())
    pack, suites = _Loading(files, problems, strict, with_suites).run()
    return Loaded(None if problems.any_error else pack, problems.sorted(), suites)


def _within_bounds(files: PackFiles, problems: ProblemList) -> bool:
    """Files too large are left out; a pack too large is not read at all."""
    where = Position(next(iter(files.files), "."))
    if len(files.files) > FILES_AT_MOST:
        problems.error(where, Code.TOO_MANY_FILES, f"a pack of more than {FILES_AT_MOST} files")
        return False
    if sum(len(data) for data in files.files.values()) > PACK_BYTES_AT_MOST:
        problems.error(
            where, Code.PACK_TOO_LARGE, f"a pack of more than {PACK_BYTES_AT_MOST // 2**20} MiB"
        )
        return False
    for name, data in files.files.items():
        if len(data) > FILE_BYTES_AT_MOST:
            problems.error(
                Position(name),
                Code.FILE_TOO_LARGE,
                f"larger than {FILE_BYTES_AT_MOST // 1024} KiB; split it",
            )
    return True


@dataclass
class _Loading:
    files: PackFiles
    problems: ProblemList
    strict: bool
    with_suites: bool
    origins: Origins = field(default_factory=Origins)
    special: dict[str, str] = field(default_factory=dict)
    """Special stem → file name."""
    trees: dict[str, Node | None] = field(default_factory=dict)

    def run(self) -> tuple[Pack, tuple[Suite, ...]]:
        for name, data in self.files.files.items():
            if name.startswith(_SUITES) and not self.with_suites:
                continue
            readable = len(data) <= FILE_BYTES_AT_MOST
            self.trees[name] = read_yaml(name, data, self.problems) if readable else None
            self._sort_in(name)
        settings = read_settings(self._special_tree("pack"), self.problems)
        facts = self._facts()
        roles = self._roles()
        policies = in_order(self._policies(facts), self.problems)
        caps = read_caps(
            self._special_tree("caps"),
            facts.table,
            roles,
            self._policy_ids(),
            self.origins,
            self.problems,
        )
        pack = Pack(
            self.files.revision,
            roles or {},
            caps,
            policies,
            facts.table.specs,
            facts.derived,
            settings,
            self._scripts(facts),
            read_never_say(self._special_tree("never_say"), self.problems),
        )
        suites = tuple(self._suites(GrantReader(roles, self._policy_ids(), self.problems)))
        check_whole(pack, facts, self.origins, self.problems)
        return pack, suites

    def _sort_in(self, name: str) -> None:
        path = PurePosixPath(name)
        if len(path.parts) > 1 or path.stem not in SPECIAL:
            return
        if path.stem in self.special:
            self.problems.error(
                Position(name),
                Code.FILE_TWICE,
                f"`{self.special[path.stem]}` is there already; keep one of them",
            )
        self.special.setdefault(path.stem, name)

    def _special_tree(self, stem: str) -> Node | None:
        return self.trees.get(self.special.get(stem, ""))

    def _facts(self) -> Facts:
        tree = self._special_tree("facts")
        complete = "facts" not in self.special or tree is not None
        return read_facts(tree, complete, self.origins, self.problems)

    def _roles(self) -> Mapping[str, Role] | None:
        if "roles" not in self.special:
            self.problems.error(
                Position("roles.yaml"),
                Code.MISSING_FILE,
                "no roles.yaml, so nobody may give anything; say who may issue what",
            )
        return read_roles(self._special_tree("roles"), self.origins, self.problems)

    def _top_level(self) -> Iterator[tuple[str, Node | None]]:
        for name, tree in self.trees.items():
            path = PurePosixPath(name)
            if len(path.parts) == 1 and path.stem not in SPECIAL:
                yield name, tree

    def _policies(self, facts: Facts) -> list[tuple[Position, Policy]]:
        reader = PolicyReader(facts.table, self.origins, self.problems, self.strict)
        for _, tree in self._top_level():
            if tree is not None:
                reader.read(tree)
        return self.origins.policies

    def _policy_ids(self) -> frozenset[str] | None:
        """Ids of all policies as written; None when a file could not be read."""
        ids: set[str] = set()
        for _, tree in self._top_level():
            node = tree.entries.get("policy") if isinstance(tree, MapNode) else None
            if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
                return None
            ids.add(node.value)
        return frozenset(ids)

    def _scripts(self, facts: Facts) -> Mapping[str, Mapping[str, Mapping[str, Script]]]:
        scripts: dict[str, Mapping[str, Mapping[str, Script]]] = {}
        for name, tree in self.trees.items():
            if not name.startswith("messages/"):
                continue
            read = read_messages(name, tree, facts.table, self.problems)
            if read is not None and read[0] in scripts:
                self.problems.error(
                    Position(name), Code.FILE_TWICE, f"a second file for `{read[0]}`; keep one"
                )
            if read is not None:
                scripts[read[0]] = read[1]
        return scripts

    def _suites(self, grants: GrantReader) -> Iterator[Suite]:
        for name, tree in self.trees.items():
            if name.startswith(_SUITES):
                suite = read_suite(name, tree, grants, self.problems)
                if suite is not None:
                    yield suite
