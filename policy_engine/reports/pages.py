"""The report of a month as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jinja2

from policy_engine.core.money import format_minor
from policy_engine.reports.charts import weekly_movements, weekly_outstanding

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))

_TITLES: Final = {
    "policy": "Policy",
    "remedy": "Remedy",
    "role": "Role",
    "reason": "Reason",
    "channel": "Channel",
}


def report_page(report: Mapping[str, Any]) -> str:
    """The page for what `month_report` has counted. MissingExtraError without matplotlib."""
    charts = {
        currency: {
            "movements": weekly_movements(figures["weeks"], currency),
            "outstanding": weekly_outstanding(figures["weeks"], currency),
        }
        for currency, figures in report["currencies"].items()
    }
    page = _environment().get_template("report.html")
    return page.render(report=report, charts=charts, titles=_TITLES)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("policy_engine.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"money": _money, "took": _took, "short": _short, "share": _share}
    return environment


def _money(minor: int, currency: str) -> str:
    """1234567, CNY → `12,345.67`."""
    whole, point, fraction = format_minor(minor, currency).partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole != "-0" else f"-0{point}{fraction}"


def _took(seconds: int | None) -> str:
    """5400 → `1.5 h`."""
    if seconds is None:
        return "–"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds} s"


def _short(pseudonym: str) -> str:
    return pseudonym[:12]


def _share(part: int, whole: int) -> str:
    """Percent, for the width of a bar."""
    return "0" if whole <= 0 or part <= 0 else f"{min(100, 100 * part / whole):.1f}"
