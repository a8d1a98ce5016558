"""Every setting, read once from the environment when a process starts.

The names are `POLICY_ENGINE_` and the upper-case field; docs/settings.md says what each one
does. A setting nobody knows is an error: a misspelt cap on a pool must not pass in silence.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from environs import Env, EnvError

from policy_engine import resources
from policy_engine.core.times import TimeFormatError, parse_duration

PREFIX = "POLICY_ENGINE_"
COMMAND_LINE_KEY = f"{PREFIX}KEY"
"""The key of the person at the command line. No setting of the service, and never kept in one."""
MatcherName = Literal["auto", "rete", "interpreter"]
LOG_LEVELS = ("debug", "info", "warning", "error")
SIGNED_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""What a JWT may be signed with: public keys only, so no shared secret can be mistaken for one."""

_T = TypeVar("_T")


class SettingsError(Exception):
    """The environment holds a setting that is unknown or has an unusable value."""


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Which tokens are trusted. One of `jwks_file` and `jwks_url` is set."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_file: Path | None
    jwks_url: str | None
    client_claim: str
    agent_claim: str
    role_claim: str
    scope_claim: str
    leeway: timedelta


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process. Build it with `read_settings`."""

    database_url: str = "sqlite:///policy-engine.db"
    database_pool_size: int = 8
    database_timeout: timedelta = timedelta(seconds=5)
    """How long a statement or a lock is waited for before the answer is 503."""
    secret_key: str | None = field(default=None, repr=False)
    secret_key_file: Path | None = None
    """Where the secret is kept when `secret_key` is not set; see `secret_path`."""
    pack_dir: Path | None = None
    """The folder that `serve --dev` loads and watches; None: the pack that ships."""
    pack_poll: timedelta = timedelta(seconds=1)
    """How often a process looks whether another revision became active."""
    require_registered_orders: bool = False
    """Serve only orders that the shop's back end has registered."""
    matcher: MatcherName = "auto"
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 8
    """Calls that a worker answers at once."""
    pin_workers: bool = True
    """Keep each worker to a processor of its own, as far as there are any."""
    queue: int = 256
    """Calls that may wait for their turn in each worker; the next is refused at once."""
    queue_timeout: timedelta = timedelta(seconds=1)
    """How long a call waits for its turn before the answer is 503."""
    connections: int = 12_000
    """That each worker holds at once; further ones wait to be accepted."""
    idle_timeout: timedelta = timedelta(seconds=65)
    """How long a connection may be open without a whole request line and headers coming."""
    body_timeout: timedelta = timedelta(seconds=10)
    """How long a body may take to come."""
    rate_limit: int = 1000
    """Calls a second of each client, on all workers of a node together; 0: no limit."""
    rate_limit_anonymous: int = 50
    """Calls a second from each address without a valid credential; 0: no limit."""
    trusted_proxies: int = 0
    """How many proxies stand in front, each adding the address it sees to `X-Forwarded-For`."""
    drain: timedelta | None = None
    """For how long a node that stops goes on serving; see `drain_time`."""
    log_level: str = "info"
    log_json: bool = True
    tracing: bool = False
    """Make OpenTelemetry spans; where they go is set by its own variables, `OTEL_…`."""
    idempotency_kept_for: timedelta = timedelta(days=1)
    log_key_file: Path | None = None
    """Where the key that signs the log is kept; see `log_key_path`."""
    log_every: timedelta = timedelta(milliseconds=500)
    """How often waiting records are given their places in the log, under a new checkpoint."""
    checkpoint_file: Path | None = None
    """What checkpoints are appended to, outside the database; see `checkpoint_path`."""
    jwt: JwtSettings | None = None
    dev: bool = False
    """Set by `serve --dev` alone: an embedded database upgrades itself, and the pack's folder
    is activated whenever it changes."""

    @property
    def embedded_database(self) -> bool:
        """Is the database a file of this machine (SQLite)?"""
        return self.database_url.startswith("sqlite")

    @property
    def database_file(self) -> Path | None:
        """The file of an embedded database; None for a database server."""
        if not self.embedded_database:
            return None
        return Path(self.database_url.partition(":///")[2].partition("?")[0])

    @property
    def secret_path(self) -> Path | None:
        """The file of the secret: the one set, else one beside an embedded database, else None."""
        if self.secret_key_file is not None or self.database_file is None:
            return self.secret_key_file
        return Path(f"{self.database_file}.key")

    @property
    def log_key_path(self) -> Path | None:
        """The file of the log's key: the one set, else one beside the secret's; None: the key is
        derived from the secret, which is in no file either."""
        if self.log_key_file is not None:
            return self.log_key_file
        if self.secret_key is not None or self.secret_path is None:
            return None
        return Path(f"{self.secret_path}.log")

    @property
    def checkpoint_path(self) -> Path | None:
        """The file of checkpoints: the one set, else one beside an embedded database, else None."""
        if self.checkpoint_file is not None or self.database_file is None:
            return self.checkpoint_file
        return Path(f"{self.database_file}.checkpoints")

    @property
    def drain_time(self) -> timedelta:
        """The time set; else five seconds, or none where no other node can take over."""
        if self.drain is not None:
            return self.drain
        return timedelta(0) if self.embedded_database else timedelta(seconds=5)

    @property
    def pack_folder(self) -> Path:
        """The folder of `pack_dir`, or the pack that ships."""
        return self.pack_dir or resources.default_policies()


_JWT_NAMES = (
    "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_jwks_file", "jwt_jwks_url",
    "jwt_client_claim", "jwt_agent_claim", "jwt_role_claim", "jwt_scope_claim", "jwt_leeway",
)  # fmt: skip
_NOT_IN_ENVIRONMENT = ("jwt", "dev")


def setting_names() -> tuple[str, ...]:
    """Every environment variable that is read, in the order of the documentation."""
    plain = [each.name for each in fields(Settings) if each.name not in _NOT_IN_ENVIRONMENT]
    named = (PREFIX + name.upper() for name in (*plain, *_JWT_NAMES))
    return (*named, COMMAND_LINE_KEY)


def read_settings() -> Settings:
    """The settings of this process; SettingsError names every variable that is wrong."""
    _refuse_unknown(os.environ)
    env = Env(prefix=PREFIX)
    problems: list[str] = []

    def read(parse: Callable[..., _T], name: str, default: object, **rules: Any) -> Any:
        try:
            return parse(name.upper(), default, **rules)
        except (EnvError, ValueError) as error:
            problems.append(_one_line(name, error))
            return default

    plain = Settings()
    settings = Settings(
        database_url=read(env.str, "database_url", plain.database_url, validate=_not_empty),
        database_pool_size=read(
            env.int, "database_pool_size", plain.database_pool_size, validate=_from(1, 200)
        ),
        database_timeout=read(_duration(env), "database_timeout", plain.database_timeout),
        secret_key=read(env.str, "secret_key", None, validate=_long_enough),
        secret_key_file=read(env.path, "secret_key_file", None, validate=_named),
        pack_dir=read(env.path, "pack_dir", None, validate=_folder),
        pack_poll=read(_duration(env), "pack_poll", plain.pack_poll),
        require_registered_orders=read(
            env.bool, "require_registered_orders", plain.require_registered_orders
        ),
        matcher=read(env.str, "matcher", plain.matcher, validate=_one_of(get_args(MatcherName))),
        host=read(env.str, "host", plain.host, validate=_not_empty),
        port=read(env.int, "port", plain.port, validate=_from(1, 65535)),
        workers=read(env.int, "workers", plain.workers, validate=_from(1, 64)),
        threads=read(env.int, "threads", plain.threads, validate=_from(1, 256)),
        pin_workers=read(env.bool, "pin_workers", plain.pin_workers),
        queue=read(env.int, "queue", plain.queue, validate=_from(0, 1024)),
        queue_timeout=read(_duration(env), "queue_timeout", plain.queue_timeout),
        connections=read(env.int, "connections", plain.connections, validate=_from(16, 100_000)),
        idle_timeout=read(_duration(env), "idle_timeout", plain.idle_timeout),
        body_timeout=read(_duration(env), "body_timeout", plain.body_timeout),
        rate_limit=read(env.int, "rate_limit", plain.rate_limit, validate=_from(0, 1_000_000)),
        rate_limit_anonymous=read(
            env.int,
            "rate_limit_anonymous",
            plain.rate_limit_anonymous,
            validate=_from(0, 1_000_000),
        ),
        trusted_proxies=read(
            env.int, "trusted_proxies", plain.trusted_proxies, validate=_from(0, 16)
        ),
        drain=read(
            _duration(env, at_least=timedelta(0), at_most=timedelta(seconds=20)), "drain", None
        ),
        log_level=read(env.str, "log_level", plain.log_level, validate=_one_of(LOG_LEVELS)),
        log_json=read(env.bool, "log_json", plain.log_json),
        tracing=read(env.bool, "tracing", plain.tracing),
        idempotency_kept_for=read(
            _duration(env, at_least=timedelta(days=1), at_most=timedelta(days=36_525)),
            "idempotency_kept_for",
            plain.idempotency_kept_for,
        ),
        log_key_file=read(env.path, "log_key_file", None, validate=_named),
        log_every=read(_duration(env), "log_every", plain.log_every),
        checkpoint_file=read(env.path, "checkpoint_file", None, validate=_named),
        jwt=_read_jwt(env, read, problems),
    )
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _read_jwt(env: Env, read: Callable[..., Any], problems: list[str]) -> JwtSettings | None:
    issuer = read(env.str, "jwt_issuer", None, validate=_not_empty)
    audience = read(env.str, "jwt_audience", None, validate=_not_empty)
    algorithms = read(
        env.list, "jwt_algorithms", ["RS256", "ES256"], validate=_all_of(SIGNED_ALGORITHMS)
    )
    file = read(env.path, "jwt_jwks_file", None, validate=_file)
    url = read(env.str, "jwt_jwks_url", None, validate=_https)
    client, agent, role, scope = (
        read(env.str, f"jwt_{name}_claim", default, validate=_not_empty)
        for name, default in (
            ("client", "client_id"),
            ("agent", "sub"),
            ("role", "role"),
            ("scope", "scope"),
        )
    )
    leeway = read(_duration(env, at_least=timedelta(0)), "jwt_leeway", timedelta(seconds=30))
    if issuer is None:
        if audience or file or url:
            problems.append(f"`{PREFIX}JWT_ISSUER` is missing; without it no token is trusted")
        return None
    if audience is None:
        problems.append(f"`{PREFIX}JWT_AUDIENCE` is missing; say which audience tokens must name")
    if (file is None) == (url is None):
        problems.append(f"set one of `{PREFIX}JWT_JWKS_FILE` and `{PREFIX}JWT_JWKS_URL`")
    return JwtSettings(
        issuer=issuer,
        audience=audience or "",
        algorithms=tuple(algorithms),
        jwks_file=file,
        jwks_url=url,
        client_claim=client,
        agent_claim=agent,
        role_claim=role,
        scope_claim=scope,
        leeway=leeway,
    )


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = setting_names()
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "see docs/settings.md"
            problems.append(f"unknown setting `{name}`; {hint}")
    if problems:
        raise SettingsError("\n".join(problems))


def _one_line(name: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    variable = PREFIX + name.upper()
    return text if variable in text else f"`{variable}`: {text}"


def _duration(
    env: Env,
    at_least: timedelta = timedelta(milliseconds=1),
    at_most: timedelta = timedelta(hours=1),
) -> Callable[..., Any]:
    def parse(name: str, default: timedelta | None) -> timedelta | None:
        text = env.str(name, None)
        if text is None:
            return default
        try:
            duration = parse_duration(text)
        except TimeFormatError as error:
            raise ValueError(f"`{text}` is {error}") from None
        if duration < at_least:
            raise ValueError(f"`{text}` is too short")
        if duration > at_most:
            raise ValueError(f"`{text}` is too long")
        return duration

    return parse


def _not_empty(text: str) -> None:
    if not text.strip():
        raise ValueError("it is empty; set a value or remove the variable")


def _named(path: Path) -> None:
    # An empty variable is the path `.`.
    if path == Path():
        raise ValueError("it names no file; set a path or remove the variable")


def _long_enough(text: str) -> None:
    if len(text) < 32:
        raise ValueError("a secret key has at least 32 characters")


def _from(least: int, most: int) -> Callable[[int], None]:
    def check(number: int) -> None:
        if not least <= number <= most:
            raise ValueError(f"`{number}` is not between {least} and {most}")

    return check


def _one_of(choices: tuple[str, ...]) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in choices:
            raise ValueError(f"`{text}` is none of {', '.join(choices)}")

    return check


def _all_of(choices: tuple[str, ...]) -> Callable[[list[str]], None]:
    def check(texts: list[str]) -> None:
        if not texts:
            raise ValueError("it is empty; set a value or remove the variable")
        for text in texts:
            _one_of(choices)(text)

    return check


def _folder(path: Path) -> None:
    if not path.is_dir():
        raise ValueError(f"`{path}` is no folder")


def _file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"`{path}` is no file")


def _https(url: str) -> None:
    # Whoever can change the keys on their way can sign tokens; on the machine itself nobody can.
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (local or (parts.scheme == "https" and parts.hostname)):
        raise ValueError(f"`{url}` must start with https://")
