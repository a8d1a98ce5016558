"""Who may call, and as whom: keys, tokens, ceilings, rosters."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import JwtSettings
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.principals import Scope
from policy_engine.usecases.tokens import BadTokenError, IssuerKeys
from tests.api.conftest import Api, late_order

ISSUER = "https://issuer.example"
AUDIENCE = "policy-engine"


def test_only_livez_readyz_and_the_docs_are_open(shared_api: Api) -> None:
    open_paths = {"/livez", "/readyz", "/docs", "/openapi.yaml"}
    document = shared_api.app.extensions["api"].spec.to_dict()
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "put", "delete"}:
            answer = shared_api.send(method.upper(), re.sub(r"{\w+}", "1", path))
            if path in open_paths:
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, path
                assert answer.json["code"] == "UNAUTHENTICATED"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_wrong_credentials_open_nothing(shared_api: Api) -> None:
    good = shared_api.key()
    changed = good[:-1] + ("A" if good[-1] != "A" else "B")
    for sent in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {good}",
        f"Bearer {good} {good}",
        f"Bearer {changed}",
        "Bearer pe_0123456789abcdef_" + "A" * 43,
        "Bearer é",
        "Bearer a.b.c",
        f"Bearer {good}x",
    ):
        answer = shared_api.decide(good, headers={"Authorization": sent})
        assert answer.status_code == 401, sent
    assert shared_api.decide(good, headers={"Authorization": f"bearer {good}"}).status_code == 201


def test_a_revoked_key_opens_nothing(shared_api: Api) -> None:
    key = shared_api.key()
    assert shared_api.decide(key).status_code == 201
    shared_api.services.ledger.credentials.revoke(key.split("_")[1], "tests")
    assert shared_api.decide(key).status_code == 401


def test_an_expired_key_opens_nothing(shared_api: Api) -> None:
    terms = CredentialTerms(
        "c",
        frozenset(["decide"]),
        ceiling="agent",
        expires_at=datetime.now(UTC) - timedelta(seconds=1),
    )
    key = shared_api.services.ledger.credentials.create(terms, "tests").key
    assert shared_api.decide(key).status_code == 401


CALLS = [
    ("POST", "/v1/decisions", {"decide"}),
    ("POST", "/v1/decisions/batch", {"decide"}),
    ("GET", "/v1/decisions", {"decide", "grant", "approve", "audit"}),
    ("GET", "/v1/decisions/1", {"decide", "grant", "approve", "audit"}),
    ("POST", "/v1/decisions/1/replay", {"decide", "grant", "approve", "audit"}),
    ("GET", "/v1/pack", {"decide", "grant", "approve", "audit", "packs", "simulate"}),
    ("GET", "/v1/policies/1", {"decide", "grant", "approve", "audit", "packs", "simulate"}),
    ("GET", "/v1/revisions", {"packs", "audit"}),
    ("POST", "/v1/packs/check", {"packs"}),
    ("POST", "/v1/packs/activate", {"packs"}),
    ("GET", "/metrics", {"audit", "admin"}),
    ("GET", "/v1/log", {"audit"}),
    ("GET", "/v1/log/1", {"audit"}),
    ("GET", "/v1/log/records/1", {"audit"}),
    ("GET", "/v1/log/checkpoint", {"audit"}),
    ("GET", "/v1/log/key", {"audit"}),
    ("GET", "/v1/log/proof/inclusion", {"audit"}),
    ("GET", "/v1/log/proof/consistency", {"audit"}),
    ("GET", "/v1/log/export", {"audit"}),
    ("GET", "/v1/customers/1/statement", {"audit"}),
    ("PUT", "/v1/orders/1", {"orders"}),
    ("GET", "/v1/orders/1", {"orders", "audit"}),
    ("POST", "/v1/grants", {"grant"}),
    ("GET", "/v1/grants", {"grant", "approve", "settle", "audit"}),
    ("GET", "/v1/grants/1", {"grant", "approve", "settle", "audit"}),
    ("POST", "/v1/grants/1/approve", {"approve"}),
    ("POST", "/v1/grants/1/reject", {"approve"}),
    ("POST", "/v1/grants/1/fulfilments", {"settle"}),
    ("POST", "/v1/grants/1/redemptions", {"settle"}),
    ("POST", "/v1/grants/1/reversals", {"settle"}),
    ("GET", "/v1/caps", {"decide", "grant", "approve", "settle", "audit"}),
]


@pytest.mark.parametrize("scope", [each.value for each in Scope])
@pytest.mark.parametrize(("method", "path", "opening"), CALLS)
def test_every_call_opens_to_its_scopes_alone(
    shared_api: Api, method: str, path: str, opening: set[str], scope: str
) -> None:
    answer = shared_api.send(method, path, shared_api.key(scope))
    refused = answer.status_code == 403 and answer.json["code"] == "SCOPE_MISSING"
    assert refused is (scope not in opening)


def test_the_table_of_calls_is_complete(shared_api: Api) -> None:
    document = shared_api.app.extensions["api"].spec.to_dict()
    guarded = {
        (method.upper(), re.sub(r"{\w+}", "1", path))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete") and operation["security"]
    }
    listed = {(method, path) for method, path, _ in CALLS}
    assert guarded == listed, "say in CALLS which scopes open a call"


def as_agent(agent_id: str, role: str) -> dict[str, Any]:
    return late_order(agent={"id": agent_id, "role": role})


class TestWhoTheAgentIs:
    def refusal(self, api: Api, key: str, body: Any) -> str | None:
        answer = api.decide(key, body)
        if answer.status_code == 201:
            return None
        assert answer.status_code == 403
        return str(answer.json["code"])

    @pytest.mark.parametrize(
        ("ceiling", "role", "code"),
        [
            ("supervisor", "supervisor", None),
            ("supervisor", "agent", None),
            ("supervisor", "bot", None),
            ("agent", "bot", None),
            ("agent", "supervisor", "ROLE_ABOVE_CEILING"),
            ("bot", "agent", "ROLE_ABOVE_CEILING"),
            # Beside the chain is above it, too.
            ("supervisor", "auditor", "ROLE_ABOVE_CEILING"),
            ("wizard", "bot", "UNKNOWN_ROLE"),
        ],
    )
    def test_nobody_is_named_above_the_ceiling(
        self, shared_api: Api, ceiling: str, role: str, code: str | None
    ) -> None:
        key = shared_api.key(ceiling=ceiling)
        assert self.refusal(shared_api, key, as_agent("A-7", role)) == code

    @pytest.mark.parametrize(
        ("agent", "role", "code"),
        [
            ("A-1", "bot", None),
            ("A-1", "agent", "ROLE_ABOVE_CEILING"),
            ("A-2", "supervisor", "ROLE_ABOVE_CEILING"),
            ("A-2", "agent", None),
            ("A-3", "bot", "AGENT_NOT_IN_ROSTER"),
        ],
    )
    def test_a_roster_bounds_each_agent(
        self, shared_api: Api, agent: str, role: str, code: str | None
    ) -> None:
        roster = {"A-1": "bot", "A-2": "supervisor"}
        key = shared_api.key(ceiling="agent", roster=roster)
        assert self.refusal(shared_api, key, as_agent(agent, role)) == code

    def test_a_bound_credential_acts_as_its_person_and_nobody_else(self, shared_api: Api) -> None:
        bot = shared_api.key(person=Agent("bot-1", "bot"))
        assert self.refusal(shared_api, bot, as_agent("A-7", "bot")) == "AGENT_MISMATCH"
        assert self.refusal(shared_api, bot, as_agent("A-7", "supervisor")) == "AGENT_MISMATCH"
        assert self.refusal(shared_api, bot, as_agent("bot-1", "agent")) == "ROLE_ABOVE_CEILING"
        body = late_order()
        del body["agent"]
        decided = shared_api.decide(bot, body)
        # Ten is what a bot may give, whatever the coupon is worth.
        assert decided.json["plans"][0]["allowed"]["amount"] == "10.00"
        assert shared_api.decide(bot, as_agent("bot-1", "bot")).status_code == 201

    def test_a_credential_that_acts_for_others_needs_a_name(self, shared_api: Api) -> None:
        body = late_order()
        del body["agent"]
        answer = shared_api.decide(shared_api.key(), body)
        assert answer.status_code == 422
        (error,) = answer.json["errors"]
        assert (error["pointer"], error["code"]) == ("/agent", "MISSING_FIELD")

    def test_a_credential_of_nobody_decides_nothing(self, shared_api: Api) -> None:
        answer = shared_api.decide(shared_api.key(ceiling=None))
        assert (answer.status_code, answer.json["code"]) == (403, "NO_AGENT")

    def test_an_as_of_needs_simulate(self, shared_api: Api) -> None:
        answer = shared_api.decide(shared_api.key(), late_order(as_of="2026-06-07T00:00:00Z"))
        assert (answer.status_code, answer.json["code"]) == (403, "AS_OF_FORBIDDEN")


# --- Tokens ---------------------------------------------------------------------------------------

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FOREIGN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwks() -> dict[str, Any]:
    rsa_key = json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
    ec_key = json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key()))
    return {
        "keys": [
            rsa_key | {"kid": "one", "use": "sig"},
            ec_key | {"kid": "two", "alg": "ES256"},
            {"kty": "oct", "kid": "three", "k": "c2VjcmV0"},
        ]
    }


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 300,
        "nbf": now - 5,
        "sub": "A-7",
        "role": "agent",
        "client_id": "helpdesk",
        "scope": "openid decide",
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid})


@pytest.fixture
def token_api(make_api: Callable[..., Api], sqlite_url: str, tmp_path: Path) -> Api:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks()))
    settings = JwtSettings(
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=("RS256", "ES256"),
        jwks_file=file,
        jwks_url=None,
        client_claim="client_id",
        agent_claim="sub",
        role_claim="role",
        scope_claim="scope",
        leeway=timedelta(seconds=30),
    )
    return make_api(sqlite_url, jwt=settings)


def test_a_good_token_decides_as_its_person(token_api: Api) -> None:
    body = late_order()
    del body["agent"]
    for good in (
        token(),
        token(EC_KEY, "ES256", "two"),
        token(aud=["other", AUDIENCE]),
        token(scope=["decide"]),
        token(exp=int(time.time()) - 10),  # within the leeway
    ):
        answer = token_api.decide(good, body)
        assert answer.status_code == 201, answer.json
    stored = token_api.services.ledger.decisions.get(answer.json["decision_id"])
    assert stored is not None
    assert stored.agent == Agent("A-7", "agent")
    assert b'"role_from":"claim"' in stored.record


def test_a_tokens_claims_win_over_the_body(token_api: Api) -> None:
    for named in (("A-9", "agent"), ("A-7", "supervisor"), ("A-7", "bot")):
        answer = token_api.decide(token(), as_agent(*named))
        stored = token_api.services.ledger.decisions.get(answer.json["decision_id"])
        assert stored is not None
        assert stored.agent == Agent("A-7", "agent")


def test_a_token_without_the_scope_decides_nothing(token_api: Api) -> None:
    for scope in (None, "", "openid", "decided"):
        answer = token_api.decide(token(scope=scope))
        assert (answer.status_code, answer.json["code"]) == (403, "SCOPE_MISSING")


def confused() -> str:
    """An HMAC over the public key's own bytes: what a careless verifier would take."""
    import base64
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    signed = head + b"." + part(json.dumps(claims()).encode())
    return (signed + b"." + part(hmac.digest(public, signed, hashlib.sha256))).decode()


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "alg none": lambda: jwt.encode(claims(), None, "none", headers={"kid": "one"}),
    "HMAC with the public key": confused,
    "HMAC with a key of the set": lambda: token(b"secret", "HS256", "three"),
    "an algorithm that is not pinned": lambda: token(algorithm="RS512"),
    "a foreign key": lambda: token(FOREIGN_KEY),
    "an unknown key id": lambda: token(kid="nine"),
    "a key of another kind": lambda: token(EC_KEY, "ES256", "one"),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "no expiry": lambda: token(exp=None),
    "not yet valid": lambda: token(nbf=int(time.time()) + 60),
    "no client": lambda: token(client_id=None),
    "a client that is none": lambda: token(client_id="a\nb"),
    "a role without a person": lambda: token(sub=None),
    "too long": lambda: token(more="x" * 9000),
    "cut": lambda: token()[:-10],
}


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_bad_token_opens_nothing(token_api: Api, bad: Callable[[], str]) -> None:
    answer = token_api.decide(bad())
    assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


class Issuer:
    """A JWKS endpoint and a clock, both in our hands."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.answer: Callable[[], object] = jwks
        self.keys = IssuerKeys(self._fetch, lambda: self.now)

    def _fetch(self) -> object:
        self.asked += 1
        return self.answer()


def unreachable() -> object:
    raise ConnectionError


def test_keys_are_fetched_once_and_again_when_old() -> None:
    issuer = Issuer()
    for _ in range(3):
        issuer.keys.find("one")
    assert issuer.asked == 1
    issuer.now += 301
    issuer.keys.find("one")
    assert issuer.asked == 2


def test_an_unknown_key_id_asks_at_most_once_in_half_a_minute() -> None:
    issuer = Issuer()
    issuer.keys.find("one")
    issuer.now += 31
    for _ in range(100):
        with pytest.raises(BadTokenError):
            issuer.keys.find("nine")
    assert issuer.asked == 2


def test_while_the_issuer_is_away_its_last_keys_serve_for_an_hour() -> None:
    issuer = Issuer()
    issuer.keys.find("one")
    issuer.answer = unreachable
    issuer.now += 3599
    issuer.keys.find("one")
    issuer.now += 2
    with pytest.raises(NotReadyError):
        issuer.keys.find("one")
    issuer.answer = jwks
    issuer.now += 31
    issuer.keys.find("one")


def test_a_shared_secret_in_the_set_is_no_key() -> None:
    with pytest.raises(BadTokenError):
        Issuer().keys.find("three")
