"""Checkpoints are C2SP signed notes: other tools read them, and nothing else passes for one."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy_engine.ledger.log.notes import (
    Checkpoint,
    NoteError,
    SigningKey,
    VerifierKey,
    notes_in,
)
from policy_engine.ledger.log.outside import CheckpointFile

# The example of Go's sumdb/note, where the format comes from.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = GO_TEXT + (
    "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
KEY = SigningKey("policy-engine/test", Ed25519PrivateKey.from_private_bytes(b"k" * 32))
CHECKPOINT = Checkpoint("policy-engine/test", 4711, b"r" * 32)
NOTE = KEY.sign(CHECKPOINT)


def test_a_note_of_another_implementation_is_read() -> None:
    assert VerifierKey.parse(GO_KEY).text(GO_NOTE) == GO_TEXT
    assert str(VerifierKey.parse(GO_KEY)) == GO_KEY


def test_a_checkpoint_is_signed_and_opened_again() -> None:
    assert NOTE.startswith(
        "policy-engine/test\n4711\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n\n"
    )
    assert KEY.verifier.open(NOTE) == CHECKPOINT
    assert VerifierKey.parse(str(KEY.verifier)) == KEY.verifier


def test_signatures_of_others_are_passed_over() -> None:
    other = SigningKey("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    signature = other.sign(CHECKPOINT).rpartition("\n\n")[2]
    assert KEY.verifier.open(NOTE + signature) == CHECKPOINT
    assert other.verifier.open(NOTE + signature) == CHECKPOINT


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("4711", "4712"),
        NOTE.replace("policy-engine/test\n", "policy-engine/text\n", 1),
        NOTE.replace("— policy-engine/test", "— policy-engine/text"),
        NOTE.replace("\n\n", "\nmore\n\n"),
        NOTE[:-1],
        NOTE.rpartition("\n\n")[0] + "\n",
        NOTE[:-10] + "AAAAAAAA=\n",
        "",
        "\n\n",
        GO_NOTE,
    ],
)
def test_nothing_else_opens(note: str) -> None:
    with pytest.raises(NoteError):
        KEY.verifier.open(note)


@pytest.mark.parametrize(
    "text", ["", "name", "a+b+c", GO_KEY.replace("c74f", "c74e"), GO_KEY.replace("Peter", "Paul")]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)


def test_the_key_is_printed_nowhere() -> None:
    assert (b"k" * 32).hex() not in repr(KEY)
    assert "k" * 32 not in repr(KEY)


def test_the_file_outside_gives_back_the_last_whole_note(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "sub" / "checkpoints")
    assert file.last() is None
    notes = [KEY.sign(Checkpoint(KEY.name, size, bytes([size % 256]) * 32)) for size in range(300)]
    for note in notes:
        file.append(note)
    assert file.last() == notes[-1]
    assert list(file.notes()) == notes


@pytest.mark.parametrize("kept", range(0, len(NOTE.encode()), 7))
def test_half_a_note_in_the_file_is_passed_over(tmp_path: Path, kept: int) -> None:
    file = CheckpointFile(tmp_path / "checkpoints")
    first, last = (KEY.sign(Checkpoint(KEY.name, size, b"x" * 32)) for size in (1, 5000))
    file.append(first)
    with file.path.open("ab") as broken:
        broken.write(NOTE.encode()[:kept])
    assert file.last() == first
    file.append(last)
    assert file.last() == last
    assert list(file.notes()) == [first, last]
    assert list(notes_in("noise\n" + first + "noise\n\n")) == [first]
