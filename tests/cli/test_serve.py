"""`policy-engine serve`, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policy_engine import resources
from tests.cli.conftest import Run

SECRET = "0123456789abcdef0123456789abcdef"


@contextmanager
def served(tmp_path: Path, *words: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("POLICY_ENGINE_")
    }
    environment |= {f"POLICY_ENGINE_{name}": value for name, value in settings.items()}
    out = (tmp_path / "out.txt").open("w+")
    err = (tmp_path / "err.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "policy_engine", "serve", *words],
        env=environment,
        cwd=tmp_path,
        stdout=out,
        stderr=err,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        out.close()
        err.close()


def until(probe: Callable[[], bool], tmp_path: Path, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if probe():
            return
        time.sleep(0.1)
    pytest.fail(f"not in {seconds} s; stderr: {(tmp_path / 'err.txt').read_text()[-2000:]}")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def pasted(curl: str) -> tuple[int, dict[str, object]]:
    """What the printed command would do, without needing curl on the machine."""
    words = shlex.split(curl)
    url = next(word for word in words if word.startswith("http"))
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1].encode()
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.load(answer)


@pytest.mark.slow
def test_dev_prints_one_key_and_a_request_that_gives_the_coupon(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = str(free_port())
    with served(tmp_path, "--dev", "--port", port, DATABASE_URL="sqlite:///var/dev.db") as process:
        out = tmp_path / "out.txt"
        until(lambda: "Documentation:" in out.read_text(), tmp_path)
        text = out.read_text()
        assert len(set(re.findall(r"pe_[0-9a-f]{16}_[\w-]{43}", text))) == 1
        status, body = pasted(text[text.index("curl") : text.index("Documentation:")])
        assert status == 201
        plan = body["plans"][0]  # type: ignore[index]
        assert plan["remedies"][0]["kind"] == "coupon"
        assert plan["allowed"] == {"amount": "8.40", "currency": "CNY"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "err.txt").read_text()


@pytest.mark.slow
def test_dev_follows_the_folder_and_keeps_the_last_good_pack(
    tmp_path: Path, free_port: Callable[[], int], write_pack: Callable[..., Path]
) -> None:
    folder = write_pack()
    port = free_port()
    settings = {"DATABASE_URL": "sqlite:///dev.db", "PACK_DIR": str(folder)}

    def pack() -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            state: dict[str, object] = json.load(answer)["pack"]
            return state

    with served(tmp_path, "--dev", "--port", str(port), **settings):
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), tmp_path)
        first = pack()["revision"]
        (folder / "caps.yaml").write_text("caps: []\n")
        until(lambda: pack()["revision"] != first, tmp_path)
        second = pack()["revision"]
        (folder / "caps.yaml").write_text("caps: nonsense\n")
        until(lambda: pack()["refused"] is not None, tmp_path)
        assert pack()["revision"] == second


@pytest.mark.slow
def test_the_keys_of_earlier_runs_end(
    run: Run, tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with served(tmp_path, "--dev", "--port", str(free_port()), DATABASE_URL="sqlite:///dev.db"):
            until(lambda: "Documentation:" in (tmp_path / "out.txt").read_text(), tmp_path)
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", "sqlite:///dev.db")
    listed = json.loads(run("keys", "list", "--format", "json").stdout)
    assert [each["state"].split()[0] for each in listed] == ["revoked", "valid"]


@pytest.mark.slow
@pytest.mark.postgres
def test_several_workers_share_postgresql(
    run: Run,
    tmp_path: Path,
    free_port: Callable[[], int],
    empty_postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", empty_postgres_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    assert run("db", "upgrade").exit_code == 0
    assert run("pack", "activate", resources.default_policies()).exit_code == 0
    key = run("keys", "create", "--client", "ops", "--scope", "admin").stdout.strip()
    words = ("--workers", "2", "--threads", "2", "--port", str(port))
    with served(tmp_path, *words, DATABASE_URL=empty_postgres_url, SECRET_KEY=SECRET) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), tmp_path)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert b"policy_engine_pack_info" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_port_that_is_taken_is_told(run: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = run("serve", "--dev", "--port", port)
    assert result.exit_code == 1
    assert f"port {port} on 127.0.0.1 is taken" in result.stderr
    assert f"--port {port + 1}" in result.stderr


def test_an_address_of_another_machine_is_told(run: Run) -> None:
    result = run("serve", "--host", "192.0.2.1")
    assert result.exit_code == 1
    assert "can't listen on 192.0.2.1" in result.stderr


def test_an_embedded_database_has_one_worker(run: Run) -> None:
    result = run("serve", "--workers", "2")
    assert result.exit_code == 2
    assert "PostgreSQL" in result.stderr


def test_without_an_upgraded_database_nothing_is_served(
    run: Run, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    result = run("serve", "--port", free_port())
    assert result.exit_code == 1
    assert "db upgrade" in result.stderr


def test_dev_does_not_begin_with_a_pack_that_has_errors(
    run: Run,
    free_port: Callable[[], int],
    write_pack: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "POLICY_ENGINE_PACK_DIR", str(write_pack({"roles.yaml": "roles: {}\nx: 1\n"}))
    )
    result = run("serve", "--dev", "--port", free_port())
    assert result.exit_code == 3


@pytest.mark.slow
@pytest.mark.postgres
def test_a_stop_while_workers_still_load_is_not_lost(
    run: Run,
    tmp_path: Path,
    free_port: Callable[[], int],
    empty_postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", empty_postgres_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    assert run("db", "upgrade").exit_code == 0
    words = ("--workers", "2", "--port", str(free_port()))
    with served(tmp_path, *words, DATABASE_URL=empty_postgres_url, SECRET_KEY=SECRET) as process:
        until(lambda: len(children(process.pid)) == 2, tmp_path)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert children(process.pid) == []


def children(pid: int) -> list[str]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []
