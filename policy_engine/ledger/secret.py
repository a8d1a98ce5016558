"""The instance's secret, and the keys derived from it.

Whoever has the database and not the secret can neither tell which customer a row is about nor
read a personal part. Losing it loses both for good, so it is backed up apart from the database.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from policy_engine.ledger.errors import SecretError

_LEAST_CHARACTERS = 32


class InstanceSecret:
    """Keys for one purpose each, all derived from one secret text. Nothing here prints it."""

    def __init__(self, text: str) -> None:
        if len(text) < _LEAST_CHARACTERS:
            raise SecretError(f"a secret key has at least {_LEAST_CHARACTERS} characters")
        self._root = hashlib.sha256(text.encode()).digest()
        self.fingerprint = "sha256:" + self.key("fingerprint").hex()
        """Tells secrets apart without giving one away; stored in the database."""
        self._pseudonym_key = self.key("pseudonym")
        self._remembered = lru_cache(maxsize=4096)(self._pseudonym)

    @classmethod
    def from_file(
        cls, path: Path, *, create: bool = False, what: str = "secret key"
    ) -> InstanceSecret:
        """Reads the secret from `path`; with `create`, makes one there if the file is missing.

        A new file can be read by its owner alone. Raises SecretError, which calls it `what`.
        """
        try:
            if create and not path.exists():
                _write_new(path)
        except OSError as error:
            raise SecretError(
                f"can't make the {what} `{path}` ({error.strerror}); let the service's user "
                "write its folder"
            ) from error
        try:
            return cls(path.read_text("ascii").strip())
        except FileNotFoundError as error:
            raise SecretError(
                f"there is no {what} `{path}`; restore it from a backup, or run "
                "`policy-engine db upgrade` to set up a new database"
            ) from error
        except OSError as error:
            raise SecretError(
                f"can't read the {what} `{path}` ({error.strerror}); let the service's user read "
                "that file"
            ) from error
        except (ValueError, SecretError) as error:
            raise SecretError(f"`{path}` holds no {what}; restore it from a backup") from error

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose; keys of two purposes tell nothing of each other."""
        return hmac.digest(self._root, purpose.encode(), "sha256")

    def pseudonym(self, kind: str, value: str) -> str:
        """The same 64 hexadecimal digits for the same value of a kind (`customer`), always."""
        return self._remembered(kind, value)

    def _pseudonym(self, kind: str, value: str) -> str:
        # A kind holds no zero byte, so no two pairs run together into the same message.
        message = kind.encode() + b"\0" + value.encode()
        return hmac.digest(self._pseudonym_key, message, "sha256").hex()


def _write_new(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and linked, so that of two processes both read the whole of one secret.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
