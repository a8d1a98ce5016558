"""Sealing: AES-256-GCM under a key of the subject, so that destroying the key erases for good.

A sealed blob is key id (16 bytes) ‖ nonce (12) ‖ ciphertext and tag. It is bound to the place
it was made for (`context`), so a blob moved to another row doesn't open there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.secret import InstanceSecret

_KEY_ID_BYTES = 16
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """The key of one subject. `sealed` is how it is stored; `new` until it is."""

    subject: str
    """The customer's pseudonym."""
    key_id: bytes
    sealed: bytes
    cipher: AESGCM
    new: bool = False

    def seal(self, context: str, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self.key_id + nonce + self.cipher.encrypt(nonce, plain, context.encode())

    def open(self, context: str, sealed: bytes) -> bytes:
        """TamperedError when these are not the bytes that were sealed for this context."""
        return _open(self.cipher, context.encode(), sealed[_KEY_ID_BYTES:], context)


def key_id_of(sealed: bytes) -> bytes:
    """Which subject key a blob was sealed under."""
    return sealed[:_KEY_ID_BYTES]


class Sealer:
    """Makes subject keys and wraps them under the instance's secret; seals what has no subject."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._wrapping = AESGCM(secret.key("subject keys"))
        self._instance = AESGCM(secret.key("instance"))

    def new_key(self, subject: str) -> SubjectKey:
        key_id, key = secrets.token_bytes(_KEY_ID_BYTES), secrets.token_bytes(32)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._wrapping.encrypt(nonce, key, _bound(subject, key_id))
        return SubjectKey(subject, key_id, sealed, AESGCM(key), new=True)

    def stored_key(self, subject: str, key_id: bytes, sealed: bytes) -> SubjectKey:
        key = _open(self._wrapping, _bound(subject, key_id), sealed, "a subject's key")
        return SubjectKey(subject, key_id, sealed, AESGCM(key))

    def seal(self, context: bytes, plain: bytes) -> bytes:
        """Under the instance's own key: for what is swept soon and belongs to no one subject."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._instance.encrypt(nonce, plain, context)

    def open(self, context: bytes, sealed: bytes) -> bytes:
        return _open(self._instance, context, sealed, "a kept answer")


def _bound(subject: str, key_id: bytes) -> bytes:
    return subject.encode() + b"\0" + key_id


def _open(cipher: AESGCM, context: bytes, sealed: bytes, what: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise TamperedError(f"the sealed bytes of {what} were changed") from error
