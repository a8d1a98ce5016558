"""Charts as SVG to be put into a page: no text in them but numbers, dates and our own words.

They need matplotlib, of the extra `reports`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from policy_engine.core.money import decimals_of
from policy_engine.reports.files import from_extra

_COLOURS: Final = {
    "granted": "#2563a8",
    "redeemed": "#2f8f5b",
    "reversed": "#b7791f",
    "expired": "#8a8f98",
    "outstanding": "#7a3f9d",
}
_GRID: Final = "#d9dde3"
_TEXT: Final = "#3c4350"
_WIDTH, _HEIGHT = 8.6, 2.6
_PROLOGUE: Final = re.compile(r"\A.*?(?=<svg )", re.DOTALL)
_GROUP_ID: Final = re.compile(r'<g id="[^"]*"')
_STYLE: Final[dict[Any, Any]] = {
    # Letters stay letters: the page's reader has the fonts, and can select and search them.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "text.color": _TEXT,
}


def weekly_movements(weeks: Sequence[Mapping[str, Any]], currency: str) -> str:
    """Bars: what was granted, redeemed, reversed and expired, week by week."""
    names = ("granted", "redeemed", "reversed", "expired")
    with from_extra("the report"):
        from matplotlib import rc_context
    with rc_context(_STYLE | {"svg.hashsalt": f"movements {currency}"}):
        figure, axes = _canvas()
        for place, name in enumerate(names):
            axes.bar(
                [number + (place - 1.5) * 0.2 for number in range(len(weeks))],
                [_major(week[name], currency) for week in weeks],
                width=0.2,
                color=_COLOURS[name],
                label=name,
            )
        _finish(axes, weeks, currency)
        axes.legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
        return _svg(figure)


def weekly_outstanding(weeks: Sequence[Mapping[str, Any]], currency: str) -> str:
    """A line: what was owed at the end of each week."""
    with from_extra("the report"):
        from matplotlib import rc_context
    with rc_context(_STYLE | {"svg.hashsalt": f"outstanding {currency}"}):
        figure, axes = _canvas()
        owed = [_major(week["outstanding"], currency) for week in weeks]
        colour = _COLOURS["outstanding"]
        axes.plot(range(len(weeks)), owed, color=colour, marker="o", linewidth=2)
        axes.fill_between(range(len(weeks)), owed, color=colour, alpha=0.12)
        axes.set_ylim(bottom=0, top=max(owed) * 1.15 or 1)
        _finish(axes, weeks, currency)
        return _svg(figure)


def _canvas() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    return figure, figure.subplots()


def _finish(axes: Any, weeks: Sequence[Mapping[str, Any]], currency: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xticks(range(len(weeks)), [f"{week['from'][5:]} – {week['to'][5:]}" for week in weeks])
    axes.set_xlim(-0.6, len(weeks) - 0.4)
    axes.set_ylabel(currency)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda figure, _: f"{figure:,.12g}"))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


def _svg(figure: Any) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(text, metadata={"Date": None, "Creator": None})
    svg = _PROLOGUE.sub("", text.getvalue(), count=1)
    # Several charts share a page: what nothing refers to needs no name.
    return _GROUP_ID.sub("<g", svg).rstrip()


def _major(minor: int, currency: str) -> float:
    """For the eye only: every exact figure is in the tables."""
    return float(minor / 10 ** decimals_of(currency))
