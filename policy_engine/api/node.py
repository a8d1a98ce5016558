"""What the workers of one node share."""

from __future__ import annotations

import mmap

from policy_engine.api.allowances import Allowances
from policy_engine.settings import Settings


class Node:
    """Allowances of callers, and whether the node is about to stop. Make it before workers are
    forked: they see what any of them, or their parent, changes."""

    def __init__(self, settings: Settings) -> None:
        self.clients = Allowances(settings.rate_limit)
        """By client."""
        self.strangers = Allowances(settings.rate_limit_anonymous)
        """By address: callers without a credential, or with a bad one."""
        self._stopping = mmap.mmap(-1, 1)

    @property
    def stopping(self) -> bool:
        """Unready for good: calls are still answered, until the server closes."""
        return self._stopping[0] != 0

    def stop(self) -> None:
        self._stopping[0] = 1
