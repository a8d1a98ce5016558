"""Ids on the command line, held to the same form as in a request."""

from __future__ import annotations

from typing import Any

import click
from marshmallow import ValidationError

from policy_engine.packs.problems import shown
from policy_engine.wire.fields import IdField, problems_in

_ID = IdField()


def id_fault(text: str) -> str | None:
    """Why a text is no id: 1 to 128 bytes without control characters; None when it is one."""
    try:
        _ID.deserialize(text)
    except ValidationError as error:
        return next(problem.message for problem in problems_in({"id": error.messages}))
    return None


class IdParameter(click.ParamType[str]):
    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        fault = id_fault(text)
        if fault is not None:
            self.fail(f"`{shown(text)}`: {fault}", param, ctx)
        return text
