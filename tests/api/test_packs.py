"""Packs over HTTP: shown, checked, made active, followed by every node."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policy_engine.packs.files import PackFiles
from policy_engine.packs.holder import ActivePack, PackState
from policy_engine.packs.loading import load_folder
from policy_engine.usecases import packs
from policy_engine.usecases.following import PackFollower
from tests.api.conftest import PACK, Api


def files(**changes: tuple[str, str]) -> dict[str, str]:
    found = {path.name: path.read_text() for path in PACK.glob("*.yaml")}
    for stem, (old, new) in changes.items():
        assert old in found[f"{stem}.yaml"]
        found[f"{stem}.yaml"] = found[f"{stem}.yaml"].replace(old, new)
    return found


NOW = datetime(2026, 6, 7, tzinfo=UTC)
TEN_PERCENT = files(shipping_delay=('"5"', '"10"'))
BROKEN = files(shipping_delay=("over: P5D", "over: 5"))


def allowed(api: Api, key: str) -> str:
    answer = api.decide(key)
    assert answer.status_code == 201, answer.json
    return str(answer.json["plans"][0]["allowed"]["amount"])


def test_the_pack_is_shown_in_plain_words(api: Api) -> None:
    shown = api.send("GET", "/v1/pack", api.key()).json
    assert shown["revision"] == PackFiles.from_folder(PACK).revision
    assert [each["role"] for each in shown["roles"]] == ["bot", "agent", "supervisor", "auditor"]
    assert "budget" not in {each["cap"] for each in shown["caps"]}
    audited = api.send("GET", "/v1/pack", api.key("audit")).json
    assert "budget" in {each["cap"] for each in audited["caps"]}


def test_a_policy_is_shown_with_its_caps(api: Api) -> None:
    shown = api.send("GET", "/v1/policies/shipping_delay", api.key("audit")).json
    assert shown["versions"][0]["plans"][0]["when"] == "shipping.delay over P5D"
    assert "budget" in {each["cap"] for each in shown["caps"]}
    absent = api.send("GET", "/v1/policies/weather", api.key())
    assert (absent.status_code, absent.json["code"]) == (404, "NO_SUCH_POLICY")


def test_a_candidate_is_checked_and_nothing_is_stored(api: Api) -> None:
    key = api.key("packs")
    good = api.send("POST", "/v1/packs/check", key, json={"files": TEN_PERCENT})
    assert (good.status_code, good.json["valid"]) == (200, True)
    bad = api.send("POST", "/v1/packs/check", key, json={"files": BROKEN})
    assert (bad.status_code, bad.json["valid"]) == (200, False)
    error = next(each for each in bad.json["problems"] if each["severity"] == "error")
    assert (error["file"], error["line"]) == ("shipping_delay.yaml", 10)
    assert len(api.send("GET", "/v1/revisions", key).json["revisions"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/files", "MISSING_FIELD"),
        ({"files": {}}, "/files", "EMPTY"),
        ({"files": {"../x.yaml": ""}}, "/files/..~1x.yaml", "NOT_A_PACK_FILE"),
        ({"files": {"roles.yaml": 5}}, "/files/roles.yaml", "WRONG_TYPE"),
        ({"files": {"roles.yaml": ""}, "x": 1}, "/x", "UNKNOWN_FIELD"),
    ],
)
def test_files_that_are_none(api: Api, body: Any, pointer: str, code: str) -> None:
    answer = api.send("POST", "/v1/packs/check", api.key("packs"), json=body)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)


def test_activating_files_decides_with_them_at_once(api_on_both: Api) -> None:
    key = api_on_both.key("decide", "packs")
    assert allowed(api_on_both, key) == "40.00"
    activated = api_on_both.send("POST", "/v1/packs/activate", key, json={"files": TEN_PERCENT})
    assert activated.status_code == 200
    assert activated.json["previous_revision"] == PackFiles.from_folder(PACK).revision
    assert allowed(api_on_both, key) == "80.00"
    back = {"revision": activated.json["previous_revision"]}
    assert api_on_both.send("POST", "/v1/packs/activate", key, json=back).status_code == 200
    assert allowed(api_on_both, key) == "40.00"


def test_an_activation_sent_again_does_not_happen_again(api: Api) -> None:
    key = api.key("decide", "packs")

    def send() -> Any:
        return api.send(
            "POST", "/v1/packs/activate", key, json={"files": TEN_PERCENT}, idempotency_key="k"
        )

    first = send()
    back = {"revision": first.json["previous_revision"]}
    api.send("POST", "/v1/packs/activate", key, json=back)
    again = send()
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert allowed(api, key) == "40.00"


def test_a_pack_with_errors_is_refused_and_the_last_good_one_stays(api: Api) -> None:
    key = api.key("decide", "packs")
    answer = api.send("POST", "/v1/packs/activate", key, json={"files": BROKEN})
    assert (answer.status_code, answer.json["code"]) == (422, "PACK_HAS_ERRORS")
    assert answer.json["problems"][0]["file"] == "shipping_delay.yaml"
    assert allowed(api, key) == "40.00"
    ready = api.send("GET", "/readyz")
    assert ready.status_code == 200
    assert ready.json["pack"]["refused"]["revision"] == answer.json["revision"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "", "ONE_OF"),
        ({"files": TEN_PERCENT, "revision": "sha256:" + "0" * 64}, "", "ONE_OF"),
        ({"revision": "latest"}, "/revision", "NOT_A_REVISION"),
    ],
)
def test_an_activation_of_nothing(api: Api, body: Any, pointer: str, code: str) -> None:
    answer = api.send("POST", "/v1/packs/activate", api.key("packs"), json=body)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)


def test_a_revision_that_nobody_stored(api: Api) -> None:
    body = {"revision": "sha256:" + "0" * 64}
    answer = api.send("POST", "/v1/packs/activate", api.key("packs"), json=body)
    assert (answer.status_code, answer.json["code"]) == (404, "NO_SUCH_REVISION")


def test_revisions_are_listed_with_the_active_one(api: Api) -> None:
    key = api.key("packs")
    revision = api.send("POST", "/v1/packs/activate", key, json={"files": TEN_PERCENT}).json[
        "revision"
    ]
    listed = api.send("GET", "/v1/revisions", key).json["revisions"]
    assert [each["active"] for each in listed] == [True, False]
    assert listed[0]["revision"] == revision


def test_every_node_follows_the_pointer(make_api: Callable[..., Api], database_url: str) -> None:
    one, two = make_api(database_url), make_api(database_url)
    key = one.key("decide", "packs")
    told: list[PackState] = []
    follower = PackFollower(two.services, timedelta(milliseconds=50), told.append)
    follower.start()
    try:
        one.send("POST", "/v1/packs/activate", key, json={"files": TEN_PERCENT})
        wait_until(lambda: two.services.packs.revision == one.services.packs.revision)
        assert allowed(two, key) == "80.00"
        assert told[-1].revision == one.services.packs.revision
    finally:
        follower.stop()


def test_without_a_pack_nothing_is_decided(make_api: Callable[..., Api], sqlite_url: str) -> None:
    api = make_api(sqlite_url, pack=None)
    answer = api.decide(api.key())
    assert (answer.status_code, answer.json["code"]) == (503, "NO_USABLE_PACK")
    assert "Retry-After" in answer.headers
    assert api.send("GET", "/readyz").status_code == 503


def test_an_active_pack_that_cant_be_loaded_here_stops_all_deciding(api: Api) -> None:
    key = api.key()
    broken = PackFiles({name: text.encode() for name, text in BROKEN.items()})
    api.services.ledger.packs.store(broken.revision, broken.archive())
    good = api.services.packs.revision
    assert good is not None
    api.services.ledger.packs.activate(broken.revision, "a newer release")
    packs.follow(api.services)
    answer = api.decide(key)
    assert (answer.status_code, answer.json["code"]) == (503, "NO_USABLE_PACK")
    ready = api.send("GET", "/readyz")
    assert (ready.status_code, ready.json["pack"]["blocked"]) == (503, True)
    api.services.ledger.packs.activate(good, "back again")
    packs.follow(api.services)
    assert api.decide(key).status_code == 201


def test_a_candidate_that_is_refused_over_http_is_told_to_whoever_watches(api: Api) -> None:
    told: list[int] = []
    follower = PackFollower(
        api.services, timedelta(milliseconds=20), lambda state: told.append(state.failures)
    )
    follower.start()
    try:
        key = api.key("packs")
        api.send("POST", "/v1/packs/activate", key, json={"files": BROKEN})
        wait_until(lambda: told[-1] == 1)
        api.send("POST", "/v1/packs/activate", key, json={"files": BROKEN})
        wait_until(lambda: told[-1] == 2)
    finally:
        follower.stop()
    assert told == [0, 1, 2]


def test_a_folder_is_followed_and_a_bad_change_keeps_the_last_good(
    api: Api, tmp_path: Path
) -> None:
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    key = api.key()
    follower = PackFollower(api.services, timedelta(milliseconds=50), lambda _: None, folder)
    follower.start()
    try:
        time.sleep(0.2)
        policy = folder / "shipping_delay.yaml"
        policy.write_text(TEN_PERCENT["shipping_delay.yaml"])
        wait_until(lambda: allowed(api, key) == "80.00")
        policy.write_text(BROKEN["shipping_delay.yaml"])
        wait_until(lambda: api.services.packs.state.refused_at is not None)
        assert allowed(api, key) == "80.00"
        policy.write_text(files()["shipping_delay.yaml"])
        wait_until(lambda: allowed(api, key) == "40.00")
        assert api.services.packs.state.refused_at is None
    finally:
        follower.stop()


class Closing:
    """Stands where an engine does, and knows whether it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_an_engine_is_closed_when_its_last_user_is_done() -> None:
    engines: list[Any] = []

    def make(_: Any) -> Any:
        engines.append(Closing())
        return engines[-1]

    pack = load_folder(PACK).pack
    assert pack is not None
    held = ActivePack(make)
    held.swap(pack, NOW)
    with held.use() as (_, engine):
        held.swap(pack, NOW)
        assert not engine.closed  # type: ignore[attr-defined]
        with held.use() as (_, newer):
            assert newer is engines[1]
    assert engines[0].closed
    assert not engines[1].closed


def test_reloading_under_load_fails_no_request(api: Api) -> None:
    key = api.key("decide", "packs")
    stop = threading.Event()
    statuses: list[int] = []

    def decide() -> None:
        while not stop.is_set():
            statuses.append(api.decide(key).status_code)

    threads = [threading.Thread(target=decide) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            body = {"files": TEN_PERCENT if turn % 2 else files()}
            assert api.send("POST", "/v1/packs/activate", key, json=body).status_code == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {201}
    assert len(statuses) > 20


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at, "it didn't happen in time"
        time.sleep(0.05)
