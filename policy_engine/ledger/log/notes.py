"""Checkpoints as text: C2SP signed notes (tlog-checkpoint, signed-note) under Ed25519.

    policy-engine/0196…            the origin: which log
    4711                           how many leaves
    CsUYapGGPo4dkMgIAUqom/X…=      the root over them, base64

    — policy-engine/0196… Az3grl…  the key's name, and base64 of key id ‖ signature

Whoever holds such a text can later prove that what it covers was not changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policy_engine.ledger.errors import LedgerError

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_HASH_BYTES = 32
_MARK = "— "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIGNATURE = r"— [^\n]+ (?:[A-Za-z0-9+/]{4}){22,}[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}\n"
NOTE = re.compile(
    r"^[^\n]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n(?:[^\n]+\n)*\n(?:" + _SIGNATURE + ")+",
    re.MULTILINE,
)
"""A whole signed checkpoint; a signature has 68 bytes at least, so half of one doesn't pass."""


class NoteError(LedgerError):
    """Text that is no checkpoint, or that the key did not sign."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one size."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key of a log and its name: enough to check what it signed."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """`name+key id+key`, as the tools of transparency logs write it."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The inverse of `str`; NoteError."""
        parts = text.strip().split("+", 2)
        encoded = _decoded(parts[2]) if len(parts) == 3 else b""
        if len(encoded) != 1 + _HASH_BYTES or encoded[:1] != _ED25519:
            raise NoteError("not a key of a log; it looks like `name+0123abcd+AQ…`")
        key = cls(parts[0], encoded[1:])
        if key.key_id.hex() != parts[1]:
            raise NoteError("the key id does not belong to the name and the key")
        return key

    def open(self, note: str) -> Checkpoint:
        """The checkpoint of a note that this key signed; NoteError for any other text."""
        return _checkpoint(self.text(note))

    def text(self, note: str) -> str:
        """The text of a note that this key signed; NoteError."""
        text, signatures = _split(note)
        for name, key_id, signature in signatures:
            # As the format wants it: signatures of keys that one doesn't know are passed over.
            if (name, key_id) == (self.name, self.key_id):
                try:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
                except InvalidSignature:
                    raise NoteError("the signature of the checkpoint is wrong") from None
                return text
        raise NoteError(f"the checkpoint is not signed by the key `{self.name}`")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key of a log. Nothing here prints it."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note."""
        text = checkpoint.text
        signed = self.verifier.key_id + self.private.sign(text.encode())
        return f"{text}\n{_MARK}{self.name} {_base64(signed)}\n"


def notes_in(text: str) -> Iterator[str]:
    """The notes of a text in which they stand one after another; what is no whole note (the half
    that a crash has left) is passed over."""
    return (match[0] for match in NOTE.finditer(text))


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    text, blank, signed = note.rpartition("\n\n")
    if not blank or not signed.endswith("\n"):
        raise NoteError("not a signed checkpoint: text, an empty line, and lines of signatures")
    signatures = []
    for line in signed[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_MARK).rpartition(" ")
        raw = _decoded(encoded)
        if not line.startswith(_MARK) or not name or len(raw) <= _KEY_ID_BYTES:
            raise NoteError("a line after the checkpoint is no signature")
        signatures.append((name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]))
    return text + "\n", signatures


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or _SIZE.fullmatch(lines[1]) is None:
        raise NoteError("not a checkpoint: its lines are an origin, a size and a root")
    root = _decoded(lines[2])
    if len(root) != _HASH_BYTES:
        raise NoteError("the root of the checkpoint is no hash")
    return Checkpoint(lines[0], int(lines[1]), root)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
