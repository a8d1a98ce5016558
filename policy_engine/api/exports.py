"""/v1/log/export: decisions and grant movements as files, in one archive."""

from __future__ import annotations

from typing import Any, Final

from flask import Response

from policy_engine.api import reading
from policy_engine.api.door import principal, services
from policy_engine.api.grant_inputs import WordField
from policy_engine.api.inputs import TimeQuerySchema
from policy_engine.api.problems import problem_error
from policy_engine.api.spec import Blueprint
from policy_engine.reports.exports import stream_zip
from policy_engine.reports.files import FORMATS, MissingExtraError
from policy_engine.usecases import exporting
from policy_engine.usecases.principals import Scope
from policy_engine.wire.fields import TimestampField

_ZIP: Final = "application/zip"
_DEFAULT: Final = "jsonl"

ExportQuerySchema = TimeQuerySchema.from_dict(
    {
        "from": TimestampField(
            required=True, metadata={"description": "What happened at this instant or later."}
        ),
        "to": TimestampField(
            metadata={"description": "What happened before this instant; left out: now."}
        ),
        "format": WordField(
            *FORMATS, metadata={"description": f"Of the files; `{_DEFAULT}` unless told."}
        ),
    },
    name="ExportQuery",
)

blueprint = Blueprint("exports", __name__, description="The record as files.")


@blueprint.call(
    "GET",
    "/v1/log/export",
    scopes=(Scope.AUDIT,),
    cost=100,
    answers={200: ("The files and their manifest, in a ZIP archive", _ZIP)},
    problems=(422, 503),
)
@blueprint.arguments(ExportQuerySchema, location="query")
def export_log(query: dict[str, Any]) -> Response:
    """Export decisions and grant movements.

    One row a decision and one a grant movement, as far as they are in the log; the manifest has
    counts, totals, the checkpoint, and the SHA-256 of each file. The export is recorded. An
    archive that was cut off has no manifest.
    """
    reading.accepts(_ZIP)
    output = FORMATS[query.get("format", _DEFAULT)]
    try:
        output.check()
    except MissingExtraError as error:
        raise problem_error(422, "FORMAT_UNAVAILABLE", str(error)) from None
    export = exporting.begin(
        services(),
        since=query["from"],
        until=query.get("to") or services().ledger.now(),
        output=output.name,
        by=caller_name(),
    )
    response = Response(stream_zip(export, output), mimetype=_ZIP)
    response.headers["Content-Disposition"] = 'attachment; filename="export.zip"'
    response.headers["Cache-Control"] = "no-store"
    return response


def caller_name() -> str:
    """Who looks, for the record: the person where there is one, the client, the credential."""
    caller = principal()
    through = f"{caller.client} ({caller.credential})"
    return through if caller.person is None else f"{caller.person.id}, {through}"
