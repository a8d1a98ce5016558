"""Rounds, medians and rows: what every figure is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from bench.peers import Peers


@dataclass(frozen=True)
class Sample:
    """One quantity measured in several rounds, in one unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        """`2,310 (2,280-2,340)`: the median, then the lowest and highest round."""
        low, high = (short(of(self.values)) for of in (min, max))
        return f"{short(self.median)} ({low}-{high})"


@dataclass(frozen=True)
class Row:
    """One line of the table of results. A row that couldn't be measured has only a `note`."""

    what: str
    measured: str = ""
    against: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """How long and how often to measure, and where."""

    rounds: int
    seconds: float
    decisions: int
    """Of the memory figure."""
    folder: Path
    """Scratch; everything in it is thrown away."""
    peers: Peers


class Figure(Protocol):
    """A module with a function `measure` and a docstring that says what it measures."""

    def measure(self, bench: Bench) -> list[Row]: ...


def interleaved(rounds: int, subjects: Mapping[str, Callable[[], float]]) -> dict[str, Sample]:
    """Each subject once a round, in turn, so that a busy moment of the machine hits all alike."""
    values: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds):
        order = list(subjects) if number % 2 == 0 else list(reversed(subjects))
        for name in order:
            values[name].append(subjects[name]())
    return {name: Sample(tuple(each)) for name, each in values.items()}


def per_second(work: Callable[[int], object], seconds: float, most: int = 5_000_000) -> float:
    """Calls a second of `work(number)`, for `seconds` and at most `most` calls."""
    work(0)
    done, step = 0, 1
    began = time.perf_counter()
    while True:
        for number in range(done, done + step):
            work(number)
        done += step
        spent = time.perf_counter() - began
        if spent >= seconds or done >= most:
            return done / spent
        # Looking at the clock after every call would be part of what is measured.
        step = max(1, min(int(done / spent * seconds / 20), most - done))


def at_least(
    what: str, ours: Sample, against: str, theirs: Sample, target: float, unit: str
) -> Row:
    """A row that wants `ours` to be `target` times `theirs` or more; both are rates."""
    ratio = ours.median / theirs.median
    return Row(
        what,
        f"{ours} {unit}",
        f"{against}: {theirs} {unit}",
        ratio,
        f"≥ {target:g} ×",
        ratio >= target,
    )


def at_most(what: str, ours: Sample, against: str, theirs: Sample, target: float, unit: str) -> Row:
    """A row that wants `ours` to be no more than `target` times `theirs`."""
    ratio = ours.median / theirs.median
    return Row(
        what,
        f"{ours} {unit}",
        f"{against}: {theirs} {unit}",
        ratio,
        f"≤ {target:g} ×",
        ratio <= target,
    )


def short(number: float) -> str:
    """Three significant digits or whole numbers: `0.812`, `46.3`, `2,310`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
