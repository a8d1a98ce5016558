"""JWTs of the one configured issuer: public keys and pinned algorithms only.

Keys come from a JWKS file or URL. They are read again when they are old or a token names an
unknown key, at most once in `RETRY_AFTER`; while the issuer can't be reached the last good
ones serve on for `KEEP_FOR`, and after that nobody's token is trusted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any

import jwt

from policy_engine.core.request import Agent
from policy_engine.settings import JwtSettings
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.principals import Principal, Scope

REFRESH_AFTER = timedelta(minutes=5)
RETRY_AFTER = timedelta(seconds=30)
KEEP_FOR = timedelta(hours=1)
FETCH_TIMEOUT = timedelta(seconds=3)
MAX_TOKEN_BYTES = 8192
MAX_NAME_BYTES = 128
_PUBLIC_KEYS = frozenset({"RSA", "EC", "OKP"})

Jwk = Mapping[str, Any]


class BadTokenError(Exception):
    """A token that is not to be trusted; the text says why, for the log only."""


class IssuerKeys:
    """The issuer's public keys, as JWKS dictionaries."""

    def __init__(
        self, fetch: Callable[[], object], seconds: Callable[[], float] = monotonic
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._lock = threading.Lock()
        self._keys: tuple[Jwk, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None

    def find(self, key_id: str | None) -> Jwk:
        """The key a token names; without a name, the only one there is.

        Raises BadTokenError when there is none, NotReadyError when no keys could be had.
        """
        self._refresh(older_than=REFRESH_AFTER)
        found = self._named(key_id)
        if found is None:
            self._refresh(older_than=timedelta(0))
            found = self._named(key_id)
        if found is None:
            raise BadTokenError("it is signed by a key that the issuer doesn't publish")
        return found

    def _named(self, key_id: str | None) -> Jwk | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.get("kid") == key_id), None)

    def _refresh(self, older_than: timedelta) -> None:
        with self._lock:
            now = self._seconds()
            if _younger(self._fetched_at, older_than, now):
                return
            if not _younger(self._tried_at, RETRY_AFTER, now):
                self._tried_at = now
                self._take(now)
            if not _younger(self._fetched_at, KEEP_FOR, now):
                raise NotReadyError("ISSUER_UNAVAILABLE", "the issuer's keys can't be read")

    def _take(self, now: float) -> None:
        try:
            keys = _signing_keys(self._fetch())
        except (OSError, ValueError, jwt.PyJWTError):
            return
        self._keys = keys
        self._fetched_at = now


class TokenDoor:
    """Turns a signed token into the principal that it speaks for."""

    def __init__(self, settings: JwtSettings, keys: IssuerKeys | None = None) -> None:
        self._settings = settings
        self._keys = keys or IssuerKeys(_fetcher(settings))

    def principal(self, token: str) -> Principal:
        """The caller; BadTokenError when the token can't be trusted, whatever the reason."""
        if len(token) > MAX_TOKEN_BYTES:
            raise BadTokenError("it is too long")
        try:
            claims = self._verified(token)
        except jwt.PyJWTError as error:
            raise BadTokenError(str(error)) from None
        return self._from_claims(claims)

    def _verified(self, token: str) -> Mapping[str, Any]:
        settings = self._settings
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in settings.algorithms:
            raise BadTokenError("it is signed in a way that is not allowed")
        key = self._keys.find(header.get("kid"))
        if key.get("alg") not in (None, algorithm):
            raise BadTokenError("it is signed in another way than its key is for")
        claims: Mapping[str, Any] = jwt.decode(
            token,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=list(settings.algorithms),
            issuer=settings.issuer,
            audience=settings.audience,
            leeway=settings.leeway,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )
        return claims

    def _from_claims(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        agent, role = claims.get(settings.agent_claim), claims.get(settings.role_claim)
        person = None
        if role is not None:
            person = Agent(_name(agent, settings.agent_claim), _name(role, settings.role_claim))
        return Principal(
            client=_name(claims.get(settings.client_claim), settings.client_claim),
            scopes=_scopes(claims.get(settings.scope_claim)),
            person=person,
            credential="token",
            owner=None if person is None else person.id,
            role_from="claim",
        )


def published_keys(settings: JwtSettings) -> tuple[Jwk, ...]:
    """The issuer's keys, read now. OSError or ValueError where they can't be had."""
    try:
        return _signing_keys(_fetcher(settings)())
    except jwt.PyJWTError as error:
        raise OSError(str(error)) from error


def fits(key: Jwk, algorithm: str) -> bool:
    """Is the key of the kind that the algorithm signs with?"""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    return kinds.get(algorithm[:2]) == key.get("kty") and key.get("alg", algorithm) == algorithm


def _signing_keys(document: object) -> tuple[Jwk, ...]:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("it is no JWKS")  # noqa: TRY004 -- what was read is bad, not who calls
    return tuple(key for key in keys if _signs(key))


def _fetcher(settings: JwtSettings) -> Callable[[], object]:
    if settings.jwks_url is not None:
        client = jwt.PyJWKClient(
            settings.jwks_url, cache_jwk_set=False, timeout=FETCH_TIMEOUT.total_seconds()
        )
        return client.fetch_data
    file = settings.jwks_file
    if file is None:
        raise ValueError("tokens need a JWKS file or URL")

    def read() -> object:
        return json.loads(file.read_bytes())

    return read


def _signs(key: object) -> bool:
    return (
        isinstance(key, dict) and key.get("kty") in _PUBLIC_KEYS and key.get("use") in (None, "sig")
    )


def _younger(since: float | None, age: timedelta, now: float) -> bool:
    return since is not None and now - since < age.total_seconds()


def _name(value: object, claim: str) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value.encode(errors="replace")) <= MAX_NAME_BYTES
        or not value.isprintable()
    ):
        raise BadTokenError(f"its claim `{claim}` names nobody")
    return value


def _scopes(value: object) -> frozenset[Scope]:
    """Ours among a space-separated string or a list; an issuer has scopes for others too."""
    names: Sequence[object] = value.split() if isinstance(value, str) else ()
    if isinstance(value, list):
        names = value
    return frozenset(scope for scope in Scope if scope.value in names)
