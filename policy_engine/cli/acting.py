"""Who acts at the command line: one person, by their own key, exactly as over HTTP.

A name typed beside a command proves nothing, so there is no option for it. The key says who it
is and in which role, and four eyes, roles and scopes hold as they do at the service's door.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import CommandError, ExitCode
from policy_engine.settings import COMMAND_LINE_KEY
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.usecases.tokens import BadTokenError

AUDITOR: Final = Principal("command line", frozenset({Scope.AUDIT}))
"""Who reads the database directly: whoever can do that sees everything."""

_ASKED: Final = "-"

key_option: Final[Callable[[Any], Any]] = click.option(
    "--key",
    "secret",
    envvar=COMMAND_LINE_KEY,
    show_envvar=True,
    metavar="KEY",
    help="Your own key or token; `-` reads it from the standard input. Others on this machine "
    "can see what is typed here, so prefer the variable.",
)


@contextmanager
def opened_for(secret: str | None, scope: Scope) -> Iterator[tuple[Services, Principal]]:
    """The services with the active pack, and the person that the key speaks for.

    CommandError when there is no key, it is not to be trusted, it lacks the scope, or it speaks
    for nobody in particular.
    """
    if not secret:
        raise CommandError(
            "nobody is named; give your own key in POLICY_ENGINE_KEY, or with --key",
            _how_to_get_one(scope),
            ExitCode.USAGE,
        )
    given = _asked() if secret == _ASKED else secret
    with opened_services(with_pack=True) as services:
        yield services, _person(services, given.strip(), scope)


def _asked() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("key", hide_input=True, err=True))
    return sys.stdin.readline()


def _person(services: Services, secret: str, scope: Scope) -> Principal:
    try:
        caller = services.credentials.principal(secret)
    except BadTokenError as error:
        raise CommandError(f"the key is not accepted: {error}", _how_to_get_one(scope)) from None
    if caller.person is None:
        raise CommandError(
            "the key is bound to no person, and only a person acts here", _how_to_get_one(scope)
        )
    if not caller.may(scope):
        raise CommandError(
            f"the key of `{caller.person.id}` lacks the scope `{scope.value}`",
            _how_to_get_one(scope),
        )
    return caller


def _how_to_get_one(scope: Scope) -> str:
    return (
        "whoever runs the service makes a person's key: policy-engine keys create "
        f"--client office --scope {scope.value} --person ID --role ROLE"
    )
