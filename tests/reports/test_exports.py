"""An export covers what the log holds, proves it, and is recorded itself."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import datetime
from pathlib import Path
from zipfile import ZipFile

import pytest

from policy_engine.ledger import history
from policy_engine.ledger.log.notes import VerifierKey
from policy_engine.reports.exports import stream_zip, write_folder
from policy_engine.reports.files import FORMATS
from policy_engine.usecases.errors import NotReadyError, UseCaseError
from policy_engine.usecases.export_rows import DECISIONS, MOVEMENTS
from policy_engine.usecases.exporting import begin
from tests.reports.conftest import BEGIN, END, Quarter


def test_the_manifest_proves_each_file_and_the_log(quarter: Quarter, tmp_path: Path) -> None:
    export = quarter.export()
    progress = list(write_folder(export, FORMATS["jsonl"], tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())

    assert progress[-1] == sum(manifest["rows"].values()) > 100
    for file in manifest["files"]:
        content = (tmp_path / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]
        assert content.count(b"\n") == file["rows"]
    log = manifest["log"]
    key = quarter.services.ledger.log.key()
    assert key is not None
    checkpoint = VerifierKey.parse(str(key)).open(log["checkpoint"])
    assert log["first_index"] <= log["last_index"] < log["covers_below"] < checkpoint.size
    indexes = [
        json.loads(line)["log_index"]
        for file in manifest["files"]
        for line in (tmp_path / file["name"]).read_text().splitlines()
    ]
    assert (min(indexes), max(indexes)) == (log["first_index"], log["last_index"])


def test_an_export_is_a_record_of_the_log(quarter: Quarter) -> None:
    export = quarter.export()
    entry = quarter.services.ledger.log.record(export.entry.record_id)
    assert entry is not None
    assert entry.kind == "export"
    assert json.loads(entry.content)["by"] == "tests"
    assert entry.index == export.below


def test_every_row_shows_its_caps_its_rule_and_who_moved_it(quarter: Quarter) -> None:
    columns = [column.name for column in MOVEMENTS.columns]
    rows = [dict(zip(columns, row, strict=True)) for row in quarter.export().movements()]
    posted = [row for row in rows if row["movement"] == "post" and row["minor"]]
    assert {row["reason_code"] for row in rows} <= {
        "SHIPPING_DELAY", "OVERSOLD", "WRONG_OR_MISSING_ITEM", "NOT_DISPATCHED",
    }  # fmt: skip
    for row in posted:
        before, after = (json.loads(str(row[name])) for name in ("caps_before", "caps_after"))
        used = [(b["used"], a["used"]) for b, a in zip(before, after, strict=True)]
        assert any(b < a for b, a in used) or row["against"] is not None
        assert row["actor"]
    approved = [row for row in rows if row["movement"] == "post" and row["against"] is not None]
    assert approved
    assert {row["actor"] for row in approved} <= {"Jonas", "陈静", "Amélie", "Grace"}
    assert {row["actor_role"] for row in approved} <= {"agent", "supervisor", "finance"}
    assert all(row["actor"] is None for row in rows if row["movement"] in ("lapse", "expire"))
    taxed = [row for row in posted if row["kind"] == "discount"]
    assert taxed
    assert all(row["tax_minor"] + row["net_minor"] == row["minor"] for row in taxed)  # type: ignore[operator]


def test_a_decision_row_has_the_rules_that_fired(quarter: Quarter) -> None:
    columns = [column.name for column in DECISIONS.columns]
    rows = [dict(zip(columns, row, strict=True)) for row in quarter.export().decisions()]
    late = next(row for row in rows if row["plan"] == "shipping_delay/delay_coupon")
    assert json.loads(str(late["reason_codes"]))["shipping_delay"] == "SHIPPING_DELAY"
    assert any(
        each["fact"] == "shipping.delay" and each["outcome"] is True
        for each in json.loads(str(late["because"]))
    )


def test_an_export_of_a_part_of_the_time_has_only_that(quarter: Quarter) -> None:
    at = [column.name for column in MOVEMENTS.columns].index("at")
    times = sorted(row[at] for row in quarter.export().movements())  # type: ignore[type-var]
    middle = times[len(times) // 2]
    assert isinstance(middle, datetime)
    first = [row[at] for row in quarter.export(until=middle).movements()]
    second = [row[at] for row in quarter.export(since=middle).movements()]
    assert max(first) < middle == min(second)  # type: ignore[type-var]
    assert len(first) + len(second) == quarter.rows("SELECT count(*) FROM grant_entry")[0][0]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_archive_holds_the_same_files_and_comes_in_pieces(quarter: Quarter, name: str) -> None:
    pieces = list(stream_zip(quarter.export(), FORMATS[name]))
    with ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.namelist() == [
            f"decisions.{name}", f"grant_movements.{name}", "manifest.json",
        ]  # fmt: skip
        for file in manifest["files"]:
            assert hashlib.sha256(archive.read(file["name"])).hexdigest() == file["sha256"]
    assert len(pieces) > 2


def test_without_anybody_who_keeps_the_log_there_is_no_export(quarter: Quarter) -> None:
    with pytest.raises(NotReadyError):
        begin(
            quarter.services, since=BEGIN, until=END, output="csv", by="tests", within_seconds=0.1
        )


def test_an_empty_time_is_refused(quarter: Quarter) -> None:
    with pytest.raises(UseCaseError, match="must lie after"):
        begin(quarter.services, since=END, until=BEGIN, output="csv", by="tests")


def test_pages_of_any_size_come_to_the_same(
    quarter: Quarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = quarter.export()
    whole = (list(export.decisions()), list(export.movements()))
    monkeypatch.setattr(history, "_PAGE", 7)
    assert (list(export.decisions()), list(export.movements())) == whole
