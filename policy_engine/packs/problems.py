"""Problems of a policy file are data: where, how bad, a stable code, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_SUGGESTIONS_AT_MOST = 100
"""Looking for near misses is slow; a file of nothing but mistakes must not take minutes."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """Stable names; `docs/policy-language.md` says of each what it means and what to do."""

    # The files
    UNREADABLE_FILE = "UNREADABLE_FILE"
    OUTSIDE_LINK = "OUTSIDE_LINK"
    MISPLACED_FILE = "MISPLACED_FILE"
    FILE_TWICE = "FILE_TWICE"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    PACK_TOO_LARGE = "PACK_TOO_LARGE"
    TOO_MANY_FILES = "TOO_MANY_FILES"
    MISSING_FILE = "MISSING_FILE"
    # YAML
    NOT_UTF8 = "NOT_UTF8"
    BYTE_ORDER_MARK = "BYTE_ORDER_MARK"
    BAD_CHARACTER = "BAD_CHARACTER"
    YAML_SYNTAX = "YAML_SYNTAX"
    YAML_DIRECTIVE = "YAML_DIRECTIVE"
    YAML_TAG = "YAML_TAG"
    YAML_ANCHOR = "YAML_ANCHOR"
    YAML_ALIAS = "YAML_ALIAS"
    MERGE_KEY = "MERGE_KEY"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    KEY_NOT_TEXT = "KEY_NOT_TEXT"
    SEVERAL_DOCUMENTS = "SEVERAL_DOCUMENTS"
    EMPTY_FILE = "EMPTY_FILE"
    TOO_DEEP = "TOO_DEEP"
    UNQUOTED_DECIMAL = "UNQUOTED_DECIMAL"
    AMBIGUOUS_SCALAR = "AMBIGUOUS_SCALAR"
    # Shapes
    UNKNOWN_KEY = "UNKNOWN_KEY"
    MISSING_KEY = "MISSING_KEY"
    WRONG_TYPE = "WRONG_TYPE"
    EMPTY_VALUE = "EMPTY_VALUE"
    BAD_NAME = "BAD_NAME"
    BAD_TEXT = "BAD_TEXT"
    BAD_NUMBER = "BAD_NUMBER"
    BAD_AMOUNT = "BAD_AMOUNT"
    BAD_DURATION = "BAD_DURATION"
    BAD_TIMESTAMP = "BAD_TIMESTAMP"
    BAD_LOCALE = "BAD_LOCALE"
    UNKNOWN_VALUE = "UNKNOWN_VALUE"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    UNKNOWN_ZONE = "UNKNOWN_ZONE"
    DUPLICATE_NAME = "DUPLICATE_NAME"
    TOO_MANY = "TOO_MANY"
    # Parameters
    UNKNOWN_PARAMETER = "UNKNOWN_PARAMETER"
    PARAMETER_IN_PARAMETER = "PARAMETER_IN_PARAMETER"
    # Facts and conditions
    UNKNOWN_FACT = "UNKNOWN_FACT"
    UNKNOWN_OP = "UNKNOWN_OP"
    BAD_CONDITION = "BAD_CONDITION"
    OP_NOT_FOR_TYPE = "OP_NOT_FOR_TYPE"
    VALUE_NOT_DECLARED = "VALUE_NOT_DECLARED"
    WRONG_FACT_TYPE = "WRONG_FACT_TYPE"
    FACT_WITHOUT_SOURCE = "FACT_WITHOUT_SOURCE"
    SEVERAL_SOURCES = "SEVERAL_SOURCES"
    BAD_NARROWING = "BAD_NARROWING"
    BAD_DECLARATION = "BAD_DECLARATION"
    DERIVED_CYCLE = "DERIVED_CYCLE"
    UNREACHABLE_RULE = "UNREACHABLE_RULE"
    # Policies, roles and caps
    BAD_WORTH = "BAD_WORTH"
    MIN_ABOVE_MAX = "MIN_ABOVE_MAX"
    BAD_INTERVAL = "BAD_INTERVAL"
    OVERLAPPING_VERSIONS = "OVERLAPPING_VERSIONS"
    DATE_BY_DIFFERS = "DATE_BY_DIFFERS"
    UNKNOWN_INCIDENT_TYPE = "UNKNOWN_INCIDENT_TYPE"
    UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"
    UNKNOWN_ROLE = "UNKNOWN_ROLE"
    UNKNOWN_POLICY = "UNKNOWN_POLICY"
    APPROVER_CYCLE = "APPROVER_CYCLE"
    BAD_LIMIT = "BAD_LIMIT"
    # Messages
    TEMPLATE_SYNTAX = "TEMPLATE_SYNTAX"
    TEMPLATE_FORBIDDEN = "TEMPLATE_FORBIDDEN"
    UNKNOWN_SLOT = "UNKNOWN_SLOT"
    # Warnings
    UNCONFIRMED_PARAMETER = "UNCONFIRMED_PARAMETER"
    UNUSED_PARAMETER = "UNUSED_PARAMETER"
    UNUSED_FACT = "UNUSED_FACT"
    FACT_NEVER_SUPPLIED = "FACT_NEVER_SUPPLIED"
    VALUE_NEVER_DERIVED = "VALUE_NEVER_DERIVED"
    ALWAYS_TRUE = "ALWAYS_TRUE"
    NEVER_TRUE = "NEVER_TRUE"
    PLAN_NOBODY_CAN_GIVE = "PLAN_NOBODY_CAN_GIVE"
    CURRENCY_MISSING = "CURRENCY_MISSING"
    GAP_BETWEEN_VERSIONS = "GAP_BETWEEN_VERSIONS"
    ROLE_WITHOUT_VALUE_CAP = "ROLE_WITHOUT_VALUE_CAP"
    CAP_NEVER_REACHED = "CAP_NEVER_REACHED"
    FEW_PLANS = "FEW_PLANS"
    MISSING_TITLE = "MISSING_TITLE"
    MISSING_TRANSLATION = "MISSING_TRANSLATION"
    MISSING_SCRIPT = "MISSING_SCRIPT"


class Position(NamedTuple):
    """Where something is written. Lines and columns count from 1, columns in characters."""

    file: str
    line: int = 1
    column: int = 1
    via: str = ""
    """How it got used elsewhere: ` (parameter `x`, used at line 9)`; ends every message."""


@dataclass(frozen=True, slots=True)
class Problem:
    file: str
    line: int
    column: int
    severity: Severity
    code: Code
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.severity}: {self.message} [{self.code}]"


class ProblemList:
    """Collects the problems of one pack."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._suggestions = 0

    @property
    def any_error(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self._problems)

    def error(self, at: Position, code: Code, message: str) -> None:
        self._add(at, Severity.ERROR, code, message)

    def warning(self, at: Position, code: Code, message: str) -> None:
        self._add(at, Severity.WARNING, code, message)

    def unknown(self, at: Position, code: Code, what: str, word: str, known: Iterable[str]) -> None:
        """An error for a `word` that is none of those known, with a suggestion if one is near."""
        self.error(at, code, f"unknown {what} `{shown(word)}`{self._suggestion(word, known)}")

    def add(self, problem: Problem) -> None:
        self._problems[problem] = None

    def sorted(self) -> tuple[Problem, ...]:
        """Every problem once, by file, line and column."""
        return tuple(
            sorted(self._problems, key=lambda each: (each.file, each.line, each.column, each.code))
        )

    def _add(self, at: Position, severity: Severity, code: Code, message: str) -> None:
        self.add(Problem(at.file, at.line, at.column, severity, code, message + at.via))

    def _suggestion(self, word: str, known: Iterable[str]) -> str:
        names = sorted(known)
        if self._suggestions < _SUGGESTIONS_AT_MOST and len(word) <= 128:
            self._suggestions += 1
            near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
            if near:
                return f"; did you mean `{near[0]}`?"
        if 0 < len(names) <= 12:
            return f"; known: {listed(names)}"
        return ""


def shown(text: str) -> str:
    """What the user wrote, on one line and cut to a length that fits a message."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "�" for character in line)
    return line if len(line) <= 60 else line[:57] + "…"


def listed(names: Iterable[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
