"""Whoever pretends to be somebody else, or to be allowed more."""

# ruff: noqa: E501 -- tables: one case a line, whatever its length

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from policy_engine.core.request import Agent
from tests.api.conftest import late_order
from tests.api.serving import Reply
from tests.api.test_credentials import BAD_TOKENS, EC_KEY, FOREIGN_KEY, token
from tests.grants.conftest import COUPON
from tests.hostile.conftest import Fortress
from tests.hostile.tokens import by_hand, jwk, mac_with_the_public_key, signed

ABSENT = "01a2015b-0000-7000-8000-000000000000"

FORGED: dict[str, Callable[[], str]] = {
    **{f"HS256 with the public key as {form}": (lambda form=form: mac_with_the_public_key(form)) for form in ("pem", "der", "jwk", "modulus")},  # type: ignore[misc]
    "its own key embedded": lambda: signed(FOREIGN_KEY, jwk=jwk(FOREIGN_KEY)),
    "its own key embedded, no kid": lambda: signed(FOREIGN_KEY, jwk=jwk(FOREIGN_KEY), kid="evil"),
    "a jku of its own": lambda: signed(FOREIGN_KEY, jku="http://127.0.0.1:9/jwks.json"),
    "an x5u of its own": lambda: signed(FOREIGN_KEY, x5u="http://127.0.0.1:9/chain.pem"),
    "a certificate of its own": lambda: signed(FOREIGN_KEY, x5c=["MIIB"]),
    "a kid that is a path": lambda: signed(FOREIGN_KEY, kid="../../../../dev/null"),
    "a kid that is SQL": lambda: signed(FOREIGN_KEY, kid="one' OR '1'='1"),
    "a kid that is an address": lambda: signed(FOREIGN_KEY, kid="http://127.0.0.1:9/"),
    "the kid of the shared secret": lambda: signed(FOREIGN_KEY, kid="three"),
    "the kid of another kind of key": lambda: signed(EC_KEY, "ES256"),
    "an extension that must be understood": lambda: signed(crit=["exp2"], exp2=1),
    "alg in small letters": lambda: by_hand(b'{"alg":"none","kid":"one"}', signature=b""),
    "alg None": lambda: by_hand(b'{"alg":null,"kid":"one"}'),
    "alg twice": lambda: by_hand(b'{"alg":"RS256","alg":"none","kid":"one"}', signature=b""),
    "a kid that is a list": lambda: by_hand(b'{"alg":"RS256","kid":["one"]}'),
    "a header that is a list": lambda: by_hand(b'["RS256"]'),
    "a header nested 2,000 deep": lambda: by_hand(b"[" * 2000 + b"]" * 2000),
    "claims nested 3,000 deep": lambda: by_hand(b'{"alg":"RS256","kid":"one"}', b"[" * 3000),
    "a header of 5,000 digits": lambda: by_hand(b'{"alg":"RS256","kid":"one","n":' + b"9" * 5000 + b"}"),
    "a header in UTF-16": lambda: by_hand('{"alg":"RS256"}'.encode("utf-16")),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "dots alone": lambda: "..",
}  # fmt: skip


@pytest.mark.parametrize("forged", (BAD_TOKENS | FORGED).values(), ids=(BAD_TOKENS | FORGED).keys())
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_forged_token_opens_nothing(fortress: Fortress, forged: Callable[[], str]) -> None:
    reply = fortress.decide(forged())
    assert (reply.status, reply.json["code"]) == (401, "UNAUTHENTICATED")


def test_the_tokens_of_the_issuer_are_taken(fortress: Fortress) -> None:
    """Or the forged ones would prove nothing."""
    for good in (token(), token(EC_KEY, "ES256", "two"), signed(jku="http://127.0.0.1:9/")):
        assert fortress.decide(good, order__id=str(uuid4())).status == 201


def test_of_a_wrong_key_nothing_is_told_and_nothing_is_timed(fortress: Fortress) -> None:
    """The same answer, in the same time, however much of the key is right."""
    good = fortress.key("decide")
    name, secret = good[:20], good[20:]
    assert name.startswith("pe_")
    wrong = {
        "nothing": "pe_0123456789abcdef_" + "A" * 43,
        "the id": name + "A" * 43,
        "all but the last": good[:-1] + ("A" if secret[-1] != "A" else "B"),
    }
    replies = {what: fortress.decide(key) for what, key in wrong.items()}
    assert {reply.status for reply in replies.values()} == {401}
    assert len({without_id(reply) for reply in replies.values()}) == 1
    timed = times(fortress, {what: ("POST", "/v1/decisions", key) for what, key in wrong.items()})
    assert alike(timed["the id"], timed["all but the last"]), timed


CALLS = [
    ("GET", "/v1/decisions/{decision}", None, "NO_SUCH_DECISION"),
    ("POST", "/v1/decisions/{decision}/replay", {}, "NO_SUCH_DECISION"),
    ("POST", "/v1/grants", {"decision_id": "{decision}", "plan": COUPON, "agent": {"id": "A-7", "role": "agent"}}, "NO_SUCH_DECISION"),
    ("GET", "/v1/grants/{grant}", None, "NO_SUCH_GRANT"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code"), CALLS, ids=[call[1] for call in CALLS])
def test_what_is_another_clients_looks_like_nothing_at_all(
    fortress: Fortress, method: str, path: str, body: object, code: str
) -> None:
    scopes = ("decide", "grant")
    agent = {"id": "A-7", "role": "agent"}
    theirs = fortress.granted(fortress.key(*scopes, client="victim"), agent=agent)
    ours = fortress.key(*scopes, client="thief")

    def ask(decision: str, grant: str) -> Reply:
        text = json.dumps(body).replace("{decision}", decision)
        sent = None if body is None else text.encode()
        return fortress.send(method, path.format(decision=decision, grant=grant), ours, body=sent)

    found = ask(theirs["decision_id"], theirs["grant_id"])
    absent = ask(ABSENT, ABSENT)
    assert (found.status, found.json["code"]) == (404, code)
    assert without_id(found) == without_id(absent)
    assert {name for name in found.headers if name != "x-request-id"} == {
        name for name in absent.headers if name != "x-request-id"
    }


def test_bytes_that_fit_no_character_are_nobodys_id(fortress: Fortress) -> None:
    # Read leniently, each of them would be the id of this order.
    order = {"id": "\ufffd", "currency": "CNY", "lines": [{"id": "1", "paid": "1.00"}]}
    body = json.dumps({"order": order, "customer": {"id": "C-1"}}).encode()
    keeper = fortress.key("orders", "audit")
    key = {"Idempotency-Key": "order-of-one"}
    registered = fortress.send("PUT", "/v1/orders/%EF%BF%BD", keeper, body=body, headers=key)
    assert registered.status == 201
    for method, path in (
        ("GET", "/v1/orders/%ff"),
        ("PUT", "/v1/orders/%ff"),
        ("GET", "/v1/customers/%C3/statement?from=2026-01-01T00:00:00Z"),
        ("GET", "/v1/caps?order=%ff"),
        ("GET", "/v1/grants?agent=a&order=%ED%A0%80"),
    ):
        answer = fortress.send(method, path, keeper, body=body if method == "PUT" else None)
        assert (answer.status, answer.json["code"]) == (400, "NOT_UTF8"), path


def test_what_is_another_clients_takes_as_long_as_what_is_not_there(fortress: Fortress) -> None:
    theirs = fortress.decided(fortress.key("decide", client="victim"))["decision_id"]
    ours = fortress.key("decide", client="thief")
    timed = times(
        fortress,
        {
            "theirs": ("GET", f"/v1/decisions/{theirs}", ours),
            "absent": ("GET", f"/v1/decisions/{ABSENT}", ours),
        },
    )
    assert alike(timed["theirs"], timed["absent"]), timed


def test_a_list_shows_a_client_its_own_alone(fortress: Fortress) -> None:
    order = str(uuid4())
    fortress.decided(fortress.key("decide", client="victim"), order__id=order)
    thief = fortress.key("decide", client="thief")
    assert fortress.send("GET", f"/v1/decisions?order={order}", thief).json["decisions"] == []


def test_another_clients_idempotency_key_is_a_new_key(fortress: Fortress) -> None:
    sent = {"Idempotency-Key": str(uuid4())}
    theirs = fortress.decide(fortress.key("decide", client="victim"), sent)
    ours = fortress.decide(fortress.key("decide", client="thief"), sent)
    assert (theirs.status, ours.status) == (201, 201)
    assert "idempotent-replayed" not in ours.headers
    assert ours.json["decision_id"] != theirs.json["decision_id"]


def test_a_cursor_is_good_where_it_was_handed_out_and_unchanged(fortress: Fortress) -> None:
    victim, thief = (fortress.key("decide", client=name) for name in ("victim", "thief"))
    for key in (victim, victim, thief, thief):
        fortress.decided(key)
    cursor = fortress.send("GET", "/v1/decisions?limit=1", victim).json["next_cursor"]

    def listed(key: str, cursor: str, more: str = "") -> Reply:
        return fortress.send("GET", f"/v1/decisions?limit=1&cursor={cursor}{more}", key)

    assert listed(victim, cursor).status == 200
    flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    forged = [
        (thief, cursor, ""),
        (victim, flipped, ""),
        (victim, cursor, "&order=SO-1"),
        (victim, cursor[:30], ""),
        (victim, "x" * 512, ""),
        (victim, "%27%20OR%201=1--", ""),
        (victim, "AAAA", ""),
    ]
    for key, sent, more in forged:
        reply = listed(key, sent, more)
        assert reply.status == 422, sent
        assert pointers(reply) == [("/cursor", "INVALID_CURSOR")], sent


MASS = [
    ("the decision's own id", {"decision_id": ABSENT}, "/decision_id"),
    ("an outcome", {"outcome": "offer"}, "/outcome"),
    ("that it can be granted", {"grantable": True}, "/grantable"),
    ("another client", {"client": "victim"}, "/client"),
    ("scopes", {"scopes": ["admin"]}, "/scopes"),
    ("a pack", {"pack_revision": "sha256:" + "0" * 64}, "/pack_revision"),
    ("an allowed amount", {"order__allowed": "9999.00"}, "/order/allowed"),
    ("a line's entitlement", {"order__lines": [{"id": "1", "paid": "1.00", "entitled": "9.00"}]}, "/order/lines/0/entitled"),
    ("an approver", {"agent__approver": "A-7"}, "/agent/approver"),
    ("Python's insides", {"__class__": {}}, "/__class__"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "pointer"), [row[1:] for row in MASS], ids=[row[0] for row in MASS]
)
def test_a_field_that_callers_do_not_set_is_refused(
    fortress: Fortress, changes: dict[str, object], pointer: str
) -> None:
    order: dict[str, object] = (
        late_order(**changes) if "__class__" not in changes else {**late_order(), **changes}
    )
    reply = fortress.send("POST", "/v1/decisions", fortress.key("decide"), body=order)
    assert (reply.status, reply.json["code"]) == (422, "INVALID_REQUEST")
    assert pointers(reply) == [(pointer, "UNKNOWN_FIELD")]


@pytest.mark.parametrize("field", ["status", "approver", "granted", "client", "entitled"])
def test_a_grant_is_of_what_was_offered_whatever_the_body_adds(
    fortress: Fortress, field: str
) -> None:
    key = fortress.key("decide", "grant", person=Agent("A-7", "agent"))
    decision = fortress.decided(key)
    body = {"decision_id": decision["decision_id"], "plan": COUPON, field: "granted"}
    reply = fortress.send("POST", "/v1/grants", key, body=body)
    assert (reply.status, pointers(reply)) == (422, [(f"/{field}", "UNKNOWN_FIELD")])


def test_an_approver_with_two_keys_is_one_person(fortress: Fortress) -> None:
    """The person is compared, whichever key, client or role they come with."""
    agent = fortress.key("decide", "grant", client="desk", person=Agent("S-1", "agent"))
    decision = fortress.decided(agent, agent={"id": "S-1", "role": "agent"}, **BROKEN)
    body = {"decision_id": decision["decision_id"], "plan": "broken/half"}
    waiting = fortress.send("POST", "/v1/grants", agent, body=body).json
    assert waiting["status"] == "partly_pending"
    path = f"/v1/grants/{waiting['grant_id']}/approve"
    for client in ("desk", "elsewhere"):
        second = fortress.key("approve", client=client, person=Agent("S-1", "supervisor"))
        reply = fortress.send("POST", path, second, body={"note": "fine"})
        assert (reply.status, reply.json["code"]) == (403, "FOUR_EYES")
    other = fortress.key("approve", client="desk", person=Agent("S-2", "supervisor"))
    assert fortress.send("POST", path, other, body={"note": "fine"}).status == 201


BROKEN = {"incident__types": ["broken"]}


def pointers(reply: Reply) -> list[tuple[str, str]]:
    return [(each["pointer"], each["code"]) for each in reply.json["errors"]]


def without_id(reply: Reply) -> bytes:
    return reply.body.replace(reply.json["request_id"].encode(), b"")


def times(fortress: Fortress, calls: dict[str, tuple[str, str, str]]) -> dict[str, list[float]]:
    """Seconds of each call, taken in turns, so that whatever else happens hits all of them."""
    found: dict[str, list[float]] = {what: [] for what in calls}
    for _ in range(60):
        for what, (method, path, key) in calls.items():
            body = late_order() if method == "POST" else None
            began = time.perf_counter()
            fortress.send(method, path, key, body=body)
            found[what].append(time.perf_counter() - began)
    return found


def alike(one: list[float], other: list[float]) -> bool:
    """Do they overlap so much that a few dozen calls can't tell them apart?"""
    fast, slow = sorted((one, other), key=statistics.median)
    return statistics.median(slow) < statistics.quantiles(fast, n=10)[8]
