"""Forged tokens, put together without a library's checks. The issuer is that of tests/api."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.api.test_credentials import RSA_KEY, claims


def jwk(key: Any) -> dict[str, Any]:
    """The public half, as JWKS documents write it."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    read: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return read


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", **header: Any) -> str:
    """A token with these header fields, really signed."""
    return jwt.encode(claims(), key, algorithm, headers={"kid": "one", **header})


def by_hand(header: bytes, payload: bytes | None = None, signature: bytes = b"x" * 256) -> str:
    """A token whose parts are as given."""
    payload = json.dumps(claims()).encode() if payload is None else payload
    return ".".join(map(_part, (header, payload, signature)))


def mac_with_the_public_key(form: str) -> str:
    """HS256 over a public key's own bytes: what a verifier takes that trusts `alg`."""
    public = RSA_KEY.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(RSA_KEY)).encode(),
        "modulus": jwk(RSA_KEY)["n"].encode(),
    }[form]
    head = _part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    told = f"{head}.{_part(json.dumps(claims()).encode())}"
    return f"{told}.{_part(hmac.digest(secret, told.encode(), hashlib.sha256))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
