"""Settings: read once, every one documented, every mistake named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from policy_engine.settings import Settings, SettingsError, read_settings, setting_names

ROOT = Path(__file__).resolve().parent.parent.parent


def problems(monkeypatch: pytest.MonkeyPatch, **values: str) -> list[str]:
    for name, value in values.items():
        monkeypatch.setenv(f"POLICY_ENGINE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    return str(caught.value).splitlines()


def test_without_any_the_defaults_hold() -> None:
    assert read_settings() == Settings()


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert [name for name in setting_names() if f"| `{name}` |" not in text] == []
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert documented == set(setting_names())


def test_values_are_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql+psycopg://db/engine",
        "DATABASE_TIMEOUT": "PT2.5S",
        "PACK_DIR": str(tmp_path),
        "WORKERS": "4",
        "LOG_JSON": "false",
        "MATCHER": "interpreter",
    }.items():
        monkeypatch.setenv(f"POLICY_ENGINE_{name}", value)
    settings = read_settings()
    assert settings.database_timeout == timedelta(seconds=2.5)
    assert settings.pack_folder == tmp_path
    assert (settings.workers, settings.log_json, settings.matcher) == (4, False, "interpreter")
    assert not settings.embedded_database
    assert settings.secret_path is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "http", "POLICY_ENGINE_PORT"),
        ("PORT", "70000", "not between 1 and 65535"),
        ("WORKERS", "0", "not between 1 and 64"),
        ("MATCHER", "drools", "none of auto, rete, interpreter"),
        ("DATABASE_TIMEOUT", "5", "not a duration"),
        ("DATABASE_TIMEOUT", "PT0S", "too short"),
        ("DATABASE_TIMEOUT", "P400D", "too long"),
        ("IDEMPOTENCY_KEPT_FOR", "PT1H", "too short"),
        ("PACK_DIR", "/no/such/folder", "no folder"),
        ("CHECKPOINT_FILE", "", "names no file"),
        ("SECRET_KEY_FILE", ".", "names no file"),
        ("SECRET_KEY", "short", "at least 32 characters"),
        ("DATABASE_URL", " ", "empty"),
        ("LOG_JSON", "perhaps", "POLICY_ENGINE_LOG_JSON"),
        ("DEV", "true", "unknown setting `POLICY_ENGINE_DEV`"),
        ("PROT", "1", "did you mean `POLICY_ENGINE_PORT`?"),
    ],
)
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    (problem,) = problems(monkeypatch, **{name: value})
    assert told in problem


def test_all_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(problems(monkeypatch, PORT="x", WORKERS="x", MATCHER="x")) == 3


def test_a_secret_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", "s3cret" * 8)
    assert "s3cret" not in repr(read_settings())


def test_a_secret_that_is_refused_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3cret" not in problems(monkeypatch, SECRET_KEY="s3cret")[0]


def test_tokens_are_trusted_when_the_issuer_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text("{}")
    for name, value in {
        "ISSUER": "https://id.example",
        "AUDIENCE": "policy-engine",
        "ALGORITHMS": "ES256,EdDSA",
        "JWKS_FILE": str(keys),
        "ROLE_CLAIM": "cs_role",
    }.items():
        monkeypatch.setenv(f"POLICY_ENGINE_JWT_{name}", value)
    jwt = read_settings().jwt
    assert jwt is not None
    assert (jwt.algorithms, jwt.jwks_file, jwt.role_claim) == (
        ("ES256", "EdDSA"),
        keys,
        "cs_role",
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"JWT_AUDIENCE": "a"}, "POLICY_ENGINE_JWT_ISSUER"),
        ({"JWT_ISSUER": "i", "JWT_JWKS_URL": "https://id.example/keys"}, "JWT_AUDIENCE"),
        ({"JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}, "set one of"),
        ({"JWT_ALGORITHMS": "HS256"}, "`HS256` is none of"),
        ({"JWT_ALGORITHMS": "none"}, "`none` is none of"),
        ({"JWT_JWKS_URL": "http://id.example/keys"}, "must start with https://"),
        ({"JWT_JWKS_URL": "http://127.0.0.1.id.example/keys"}, "must start with https://"),
    ],
)
def test_half_an_issuer_is_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], told: str
) -> None:
    assert any(told in problem for problem in problems(monkeypatch, **values))
