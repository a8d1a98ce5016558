"""`policy-engine pack diff`, between folders, stored revisions and the active pack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_pack_verbs import BROKEN
from tests.packs.made import WHOLE
from tests.ready import SECRET

RAISED = {
    "shipping_delay.yaml": WHOLE["shipping_delay.yaml"].replace('percent: "5"', 'percent: "6"')
}


@pytest.fixture
def old(pack: Path, tmp_path: Path) -> Path:
    """A copy of the small pack, before anything of it changes."""
    return shutil.copytree(pack, tmp_path / "old")


@pytest.fixture
def database(sqlite_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    assert run("db", "upgrade").exit_code == 0


def test_two_folders_are_compared_in_words(
    run: Run, old: Path, write_pack: Callable[..., Path]
) -> None:
    told = run("pack", "diff", old, write_pack(RAISED))
    assert told.exit_code == 0
    assert "~ plan shipping_delay/coupon: changed" in told.stdout
    assert (
        "gives 1: coupon: 5 % of order.goods_paid → coupon: 6 % of order.goods_paid" in told.stdout
    )
    assert told.stdout.splitlines()[-1] == "1 change"


def test_as_json_every_change_is_a_row(
    run: Run, old: Path, write_pack: Callable[..., Path]
) -> None:
    told = json.loads(run("pack", "diff", old, write_pack(RAISED), "--format", "json").stdout)
    assert told["same"] is False
    assert told["before"] != told["after"]
    assert told["changes"] == [
        {
            "kind": "changed",
            "what": "plan",
            "name": "shipping_delay/coupon",
            "differences": [
                {
                    "field": "gives 1",
                    "before": "coupon: 5 % of order.goods_paid",
                    "after": "coupon: 6 % of order.goods_paid",
                }
            ],
        }
    ]


def test_the_same_pack_and_one_that_only_reads_otherwise_are_told(
    run: Run, old: Path, write_pack: Callable[..., Path]
) -> None:
    assert "the same pack" in run("pack", "diff", old, old).stdout
    commented = write_pack({"roles.yaml": "# who may what\n" + WHOLE["roles.yaml"]})
    assert "they decide and say the same" in run("pack", "diff", old, commented).stdout


@pytest.mark.usefixtures("database")
def test_one_pack_is_compared_with_the_active_one_and_a_revision_is_as_good_as_a_folder(
    run: Run, old: Path, write_pack: Callable[..., Path]
) -> None:
    nothing = run("pack", "diff", old)
    assert (nothing.exit_code, "no pack is active yet" in nothing.stderr) == (1, True)
    activated = json.loads(run("pack", "activate", old, "--format", "json").stdout)
    new = write_pack(RAISED)
    told = run("pack", "diff", new)
    assert told.exit_code == 0, told.stderr
    assert told.stdout == run("pack", "diff", activated["revision"], new).stdout
    assert "1 change" in told.stdout
    unknown = run("pack", "diff", "sha256:" + 64 * "0", new)
    assert (unknown.exit_code, "is stored" in unknown.stderr) == (1, True)


def test_a_pack_with_errors_and_wrong_usage_have_codes_of_their_own(
    run: Run, old: Path, write_pack: Callable[..., Path]
) -> None:
    assert run("pack", "diff", old, write_pack(BROKEN)).exit_code == 3
    assert run("pack", "diff", old, "nowhere").exit_code == 2
    assert run("pack", "diff").exit_code == 2
    assert run("pack", "diff", old, old, old).exit_code == 2
