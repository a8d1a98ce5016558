"""A secret that a caller sends → who the caller is. API keys and tokens come out alike."""

from __future__ import annotations

from typing import Final

from policy_engine.ledger.credentials import KeyRing
from policy_engine.ledger.shapes import Credential
from policy_engine.usecases.principals import ActFor, Principal, Scope
from policy_engine.usecases.tokens import BadTokenError, TokenDoor

_SCOPES: Final = {scope.value: scope for scope in Scope}


class CredentialDoor:
    """Knows API keys from tokens by their form: a token has two dots, a key has none."""

    def __init__(self, keys: KeyRing, tokens: TokenDoor | None) -> None:
        self._keys = keys
        self._tokens = tokens

    def known(self, secret: str) -> bool:
        """Can it be told what the secret is worth without looking for an unknown key?"""
        return secret.count(".") == 2 or self._keys.remembers(secret)

    def principal(self, secret: str) -> Principal:
        """Raises BadTokenError for whatever is not to be trusted."""
        if secret.count(".") == 2:
            if self._tokens is None:
                raise BadTokenError("it is a token, and no issuer is configured")
            return self._tokens.principal(secret)
        credential = self._keys.verify(secret)
        if credential is None:
            raise BadTokenError("no such key, or it is expired or revoked")
        return principal_of(credential)


def principal_of(credential: Credential) -> Principal:
    """Who an API key speaks for. A scope that this release doesn't know opens nothing."""
    terms = credential.terms
    act_for = None if terms.ceiling is None else ActFor(terms.ceiling, terms.roster)
    return Principal(
        client=terms.client,
        scopes=frozenset([_SCOPES[name] for name in terms.scopes if name in _SCOPES]),
        person=terms.person,
        act_for=act_for,
        credential=credential.id,
        owner=terms.owner or (None if terms.person is None else terms.person.id),
        role_from="credential",
    )
