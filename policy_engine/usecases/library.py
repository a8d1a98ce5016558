"""Packs that were active once, loaded again from their stored bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from policy_engine.core.evaluation import Engine
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.semantics import EVALUATORS, Evaluators
from policy_engine.ledger.packs import PackStore
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import Loaded, load
from policy_engine.usecases.errors import NotReadyError

_KEPT: Final = 8


class Library:
    """Engines by revision and semantics. They use the interpreter, which agrees with every matcher
    and holds nothing that would have to be given back."""

    def __init__(self, store: PackStore, evaluators: Evaluators = EVALUATORS) -> None:
        self._store = store
        self._evaluators = evaluators
        self._lock = threading.Lock()
        self._engines: OrderedDict[tuple[str, int], Engine] = OrderedDict()

    def load(self, revision: str, *, with_suites: bool = False) -> Loaded:
        """A stored revision. UnknownRevisionError when there is none.

        It decides without its suites, and they were checked when it was stored.
        """
        files = PackFiles.from_archive(self._store.archive(revision))
        return load(files, with_suites=with_suites)

    def engine(self, revision: str, semantics: int | None = None) -> Engine:
        """The engine of a revision by the rules of a number, those of today if it is None.

        Raises UnknownRevisionError, or NotReadyError when this release can't load the pack or has
        no evaluator of that number.
        """
        number = max(self._evaluators) if semantics is None else semantics
        with self._lock:
            kept = self._engines.get((revision, number))
            if kept is not None:
                self._engines.move_to_end((revision, number))
                return kept
        if number not in self._evaluators:
            raise NotReadyError(
                "SEMANTICS_UNKNOWN", f"this release has no evaluator of semantics {number!r}"
            )
        pack = self.load(revision).pack
        if pack is None:
            raise NotReadyError("PACK_UNUSABLE", f"this release can't load the pack `{revision}`")
        engine = self._evaluators[number](pack, Interpreter())
        with self._lock:
            self._engines[revision, number] = engine
            while len(self._engines) > _KEPT:
                self._engines.popitem(last=False)
        return engine
