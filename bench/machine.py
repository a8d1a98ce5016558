"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from policy_engine import __version__

_LIBRARIES = ("flask", "granian", "marshmallow", "orjson", "sqlalchemy", "durable-rules")


def described() -> list[str]:
    """One line each: processor, system, Python, versions, load generator."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    python = f"Python {platform.python_version()}"
    return [
        f"{_processor()}, {os.cpu_count()} cores, load {_load()} before the run",
        f"{platform.system()} {platform.release()}, {python}, SQLite {sqlite3.sqlite_version}",
        f"policy-engine {__version__}; {libraries}",
        f"databases under {tempfile.gettempdir()} ({_file_system()})",
        f"load from {'wrk' if shutil.which('wrk') else 'bench/loader.py (wrk is not installed)'}",
    ]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _file_system() -> str:
    """Of the folder for temporary files: on `tmpfs` no commit waits for a disk."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "file system unknown"
    kinds = {Path(at): kind for _, at, kind, *_ in map(str.split, mounts.read_text().splitlines())}
    return next(kinds[each] for each in (folder, *folder.parents) if each in kinds)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
