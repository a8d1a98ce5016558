"""Finds the files that ship beside the code: migrations and default pack.

In a source tree, and so in an editable install, they lie at the top, where people edit them.
A wheel carries copies inside the package (see hatch_build.py).
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "_shipped"


def migrations() -> Path:
    """The folder of Alembic scripts."""
    return _find("migrations")


def default_policies() -> Path:
    """The policy pack that ships with the service."""
    return _find("policies")


def _find(name: str) -> Path:
    root = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent
    path = root / name
    if not path.exists():
        raise FileNotFoundError(f"`{name}` is missing from {root}; reinstall policy-engine")
    return path
