"""The bytes of a pack: what belongs to it, its revision, its archive."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.packs.files import (
    FILE_BYTES_AT_MOST,
    FILES_AT_MOST,
    PackFiles,
    PackFilesError,
    belongs,
)
from policy_engine.packs.loading import load, load_folder
from tests.packs.made import WHOLE


def folder(at: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data)
    return at


def test_only_yaml_at_the_top_and_in_messages_and_tests_belongs(tmp_path: Path) -> None:
    wanted = {"caps.yaml": b"1", "messages/en.yaml": b"2", "tests/a.yml": b"3", "物流.yaml": b"4"}
    other = {"README.md": b"", ".hidden.yaml": b"", "tests/.a.yaml": b"", "messages/x.txt": b""}
    files = PackFiles.from_folder(folder(tmp_path, wanted | other))
    assert dict(files.files) == wanted
    assert list(files.files) == sorted(wanted)
    assert files.refused == ()


def test_a_policy_in_a_folder_of_its_own_is_an_error_and_not_silence(tmp_path: Path) -> None:
    files = PackFiles.from_folder(folder(tmp_path, {"delay/policy.yaml": b"a: 1"}))
    assert [(each.file, each.code) for each in files.refused] == [
        ("delay/policy.yaml", "MISPLACED_FILE")
    ]


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("policy: x")
    pack = folder(tmp_path / "pack", {"roles.yaml": b"roles: {}"})
    (pack / "stolen.yaml").symlink_to(secret)
    (pack / "inside.yaml").symlink_to(pack / "roles.yaml")
    (pack / "tests").symlink_to(tmp_path)
    files = PackFiles.from_folder(pack)
    assert list(files.files) == ["inside.yaml", "roles.yaml"]
    assert [(each.file, each.code) for each in files.refused] == [
        ("stolen.yaml", "OUTSIDE_LINK"),
        ("tests", "OUTSIDE_LINK"),
    ]
    assert load(files).pack is None


def test_a_folder_named_like_a_file_is_refused_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").mkdir()
    (tmp_path / "odd.yaml" / "inner.yaml").write_text("a: 1")
    codes = [each.code for each in PackFiles.from_folder(tmp_path).refused]
    assert codes == ["MISPLACED_FILE"]


def test_no_folder_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(PackFilesError, match="is not a folder"):
        load_folder(tmp_path / "none")


def test_a_large_file_is_read_only_as_far_as_needed_to_refuse_it(tmp_path: Path) -> None:
    big = b"#" * (FILE_BYTES_AT_MOST * 3)
    files = PackFiles.from_folder(folder(tmp_path, {"roles.yaml": big}))
    assert len(files.files["roles.yaml"]) == FILE_BYTES_AT_MOST + 1
    assert [each.code for each in load(files).problems] == ["FILE_TOO_LARGE"]


def test_a_pack_of_too_many_bytes_or_files_is_refused() -> None:
    large = {f"p{n}.yaml": b"#" * FILE_BYTES_AT_MOST for n in range(17)}
    assert [each.code for each in load(PackFiles(large)).problems] == ["PACK_TOO_LARGE"]
    many = {f"p{n}.yaml": b"" for n in range(FILES_AT_MOST + 1)}
    assert [each.code for each in load(PackFiles(many)).problems] == ["TOO_MANY_FILES"]


def test_the_revision_is_what_sha256sum_says_of_the_files() -> None:
    files = PackFiles({"b.yaml": b"two", "a.yaml": b"one"})
    manifest = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in (("a.yaml", b"one"), ("b.yaml", b"two"))
    )
    assert files.revision == "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        {"a.yaml": b"one "},
        {"b.yaml": b"one"},
        {"a.yaml": b"one", "tests/t.yaml": b""},
        {},
    ],
)
def test_any_other_byte_or_name_is_another_revision(other: dict[str, bytes]) -> None:
    assert PackFiles(other).revision != PackFiles({"a.yaml": b"one"}).revision


names = st.one_of(
    st.from_regex(r"\A(messages/|tests/)?[a-z_]{1,9}\.ya?ml\Z"), st.just("物流.yaml")
).filter(belongs)


@given(st.dictionaries(names, st.binary(max_size=200), max_size=6))
def test_an_archive_gives_back_exactly_what_went_in(files: dict[str, bytes]) -> None:
    before = PackFiles(files)
    after = PackFiles.from_archive(before.archive())
    assert after == before
    assert after.revision == before.revision
    assert after.archive() == before.archive()


def test_an_archive_is_the_same_bytes_whatever_the_order_of_the_files() -> None:
    one = PackFiles({"a.yaml": b"1", "b.yaml": b"2"})
    other = PackFiles({"b.yaml": b"2", "a.yaml": b"1"})
    assert one.archive() == other.archive()


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive",
        zipped(("../roles.yaml", b"")),
        zipped(("/roles.yaml", b"")),
        zipped(("deep/roles.yaml", b"")),
        zipped(("roles.txt", b"")),
        zipped(("roles.yaml", b"0" * 100_000), method=zipfile.ZIP_DEFLATED),
        zipped(*((f"p{n}.yaml", b"") for n in range(FILES_AT_MOST + 1))),
        zipped(*((f"p{n}.yaml", b"0" * FILE_BYTES_AT_MOST) for n in range(17))),
        PackFiles({"a.yaml": b"one"}).archive()[:-4],
        PackFiles({"a.yaml": b"one"}).archive().replace(b"one", b"two"),
    ],
)
def test_nothing_else_passes_as_an_archive(archive: bytes) -> None:
    with pytest.raises(PackFilesError):
        PackFiles.from_archive(archive)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_in_an_orderly_way(archive: bytes) -> None:
    with pytest.raises(PackFilesError):
        PackFiles.from_archive(archive)


def test_files_that_are_no_pack_files_cannot_be_put_in() -> None:
    for name in ("../x.yaml", "a/b.yaml", "x.txt", "a\nb.yaml", ".yaml", "tests/../x.yaml", ""):
        with pytest.raises(PackFilesError):
            PackFiles({name: b""})


def test_a_folder_loads_as_its_files_do(tmp_path: Path) -> None:
    data = {name: text.encode() for name, text in WHOLE.items()}
    assert load_folder(folder(tmp_path, data)) == load(PackFiles(data))
