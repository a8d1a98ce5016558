"""`policy-engine pack schema`: the JSON Schemas that editors check policy files with."""

from __future__ import annotations

from pathlib import Path

import click

from policy_engine.cli.frame import show_json, show_table, verb
from policy_engine.packs.schema import json_schemas, schema_files


@verb("policy-engine pack schema docs/schema")
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path)
)
def schema(folder: Path | None, output: str) -> None:
    """Write the JSON Schema of each kind of policy file into DIR, or show them all as JSON."""
    if folder is None:
        show_json(json_schemas())
        return
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in schema_files().items():
        (folder / name).write_text(text, "utf-8")
        written.append(str(folder / name))
    if output == "json":
        show_json({"written": written})
    else:
        show_table(("written",), [(path,) for path in written])
