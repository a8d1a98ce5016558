"""What the service is compared with. Each is installed when a figure first asks for it, into a
scratch folder, from the ordinary registries; none is part of the project."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

_INSTALL_SECONDS = 300


class PeerMissingError(Exception):
    """A peer that can't be installed here; the message says why."""


@dataclass
class Peers:
    """Peers under `folder`. What is there already is used again."""

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)
    """Of those that were asked for."""

    def zen(self) -> Path:
        """A Python that can import `zen`, of ZEN's own virtual environment."""
        home = self.folder / "zen"
        python = home / "bin" / "python"
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(home)])
        _run([str(python), "-m", "pip", "install", "--quiet", "zen-engine"])
        self.versions["ZEN"] = _run(
            [
                str(python),
                "-c",
                "from importlib.metadata import version as v;print(v('zen-engine'))",
            ]
        )
        return python

    def cerbos(self) -> Path:
        """The server's binary."""
        home = self.folder / "cerbos"
        name = "@cerbos/cerbos-linux-x64"
        binary = home / "node_modules" / name / "cerbos-linux-x64"
        if not binary.exists():
            home.mkdir(parents=True, exist_ok=True)
            (home / "package.json").write_text("{}")
            _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), name])
        self.versions["Cerbos"] = _run([str(binary), "--version"]).splitlines()[0]
        return binary


def _run(command: list[str]) -> str:
    """What the command printed. PeerMissingError with its last words when it fails."""
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissingError(f"{Path(command[0]).name}: {error}") from None
    if ran.returncode != 0:
        last = (ran.stderr or ran.stdout).strip().splitlines()[-1:] or ["no message"]
        raise PeerMissingError(f"{Path(command[0]).name} failed: {last[0]}")
    return ran.stdout.strip()
