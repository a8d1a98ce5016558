"""Puts the files that lie beside the package into the wheel.

People edit migrations and policy pack at the top of the tree, and the installed package needs them
too: `db upgrade` runs the first, and `serve` without a pack uses the second. A wheel carries them
under `_shipped`; an editable install gets no copies and finds them where they are.
policy_engine/resources.py knows both places. openapi.yaml stays out: the server writes that
document from its code.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BESIDE_THE_PACKAGE = ("migrations", "policies")


class ShippedFiles(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":  # not "editable"
            for name in BESIDE_THE_PACKAGE:
                build_data["force_include"][name] = f"policy_engine/_shipped/{name}"
