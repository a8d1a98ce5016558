"""Packs that were active once, loaded again from their stored bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from policy_engine.core.evaluation import Engine
from policy_engine.core.interpreter import Interpreter
from policy_engine.ledger.packs import PackStore
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import Loaded, load
from policy_engine.usecases.errors import NotReadyError

_KEPT: Final = 8


class Library:
    """Engines by revision. They use the interpreter, which agrees with every matcher and holds
    nothing that would have to be given back."""

    def __init__(self, store: PackStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def load(self, revision: str) -> Loaded:
        """A stored revision. UnknownRevisionError when there is none."""
        return load(PackFiles.from_archive(self._store.archive(revision)))

    def engine(self, revision: str) -> Engine:
        """Raises UnknownRevisionError, or NotReadyError when this release can't load it."""
        with self._lock:
            kept = self._engines.get(revision)
            if kept is not None:
                self._engines.move_to_end(revision)
                return kept
        pack = self.load(revision).pack
        if pack is None:
            raise NotReadyError("PACK_UNUSABLE", f"this release can't load the pack `{revision}`")
        engine = Engine(pack, Interpreter())
        with self._lock:
            self._engines[revision] = engine
            while len(self._engines) > _KEPT:
                self._engines.popitem(last=False)
        return engine
