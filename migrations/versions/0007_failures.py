"""A failure that is reported covers what had been given by then, and not what is approved later;
and times in SQLite's views are to the microsecond, as they are recorded."""

# ruff: noqa: S608 -- all names are our own

import re
from collections.abc import Callable

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"

_VIEW = "v_grant_remedies"

_ROUNDED = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000000.0, 'unixepoch')"
_EXACT = (
    "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch') || printf('.%06dZ', {0} % 1000000)"
)


def upgrade() -> None:
    _change("e.position < f.position", "e.against < f.position", _ROUNDED, _EXACT)


def downgrade() -> None:
    _change("f.position IS NOT NULL", "f.position IS NOT NULL", _EXACT, _ROUNDED)


def _change(failed_post: str, failed_reversal: str, before: str, after: str) -> None:
    if op.get_bind().dialect.name == "postgresql":

        def at(column: str) -> str:
            return f"timestamptz 'epoch' + {column} * interval '1 microsecond'"

        view = _remedies(failed_post, failed_reversal, "::bigint", at)
        op.execute(f"CREATE OR REPLACE VIEW {_VIEW} AS {view}")
        return
    pattern = _pattern(before)
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY rowid"
    for name, sql in op.get_bind().execute(text(found)).all():
        if name == _VIEW:
            view = _remedies(failed_post, failed_reversal, "", after.format)
            again = f"CREATE VIEW {_VIEW} AS {view}"
        else:
            again = pattern.sub(lambda time: after.format(time[1]), sql)
        op.execute(f"DROP VIEW {name}")
        op.execute(again)


def _pattern(form: str) -> re.Pattern[str]:
    first, *others = map(re.escape, re.split(r"\{0?\}", form))
    return re.compile(first + "(.+?)" + r"\1".join(others))


def _remedies(
    failed_post: str, failed_reversal: str, integer: str, at: Callable[[str], str]
) -> str:
    """As it was, but for what a failure covers: `failed_minor`."""

    def moved(movement: str, minor: str = "e.minor", more: str = "") -> str:
        return f"CASE WHEN e.movement = '{movement}'{more} THEN {minor} END"

    def total(what: str) -> str:
        return f"coalesce(sum({what}){integer}, 0)"

    waits = """ AND NOT EXISTS (
              SELECT 1 FROM grant_entry AS s WHERE s.grant_id = e.grant_id
              AND s.against = e.position AND s.movement IN ('post', 'reject', 'lapse'))"""
    failed = total(
        f"CASE WHEN e.movement = 'post' AND {failed_post} THEN e.minor "
        f"WHEN e.movement = 'reverse' AND {failed_reversal} THEN -e.minor END"
    )
    return f"""
        SELECT grant_id, remedy, kind, policy, source, currency, granted_minor, pending_minor,
          CASE WHEN kind IN ('coupon', 'store_credit') THEN used_minor
            ELSE granted_minor - reversed_minor - failed_minor END AS redeemed_minor,
          reversed_minor, expired_minor,
          CASE WHEN kind IN ('coupon', 'store_credit')
            THEN granted_minor - used_minor - reversed_minor - expired_minor
            ELSE failed_minor END AS outstanding_minor,
          {at("granted_at_us")} AS granted_at, granted_at_us,
          {at("(granted_at_us + valid_for_us)")} AS valid_until,
          granted_at_us + valid_for_us AS valid_until_us
        FROM (
          SELECT grant_remedy.grant_id, grant_remedy.position, grant_remedy.remedy,
            grant_remedy.kind, grant_remedy.policy, grant_remedy.source, grant_.currency,
            grant_remedy.valid_for_us,
            {total(moved("post"))} AS granted_minor,
            {total(moved("reserve", more=waits))} AS pending_minor,
            {total(moved("redeem"))} AS used_minor,
            {total(moved("reverse"))} AS reversed_minor,
            {total(moved("expire"))} AS expired_minor,
            max({moved("post", "e.at_us")}) AS granted_at_us,
            {failed} AS failed_minor
          FROM grant_remedy
          JOIN grant_ ON grant_.id = grant_remedy.grant_id
          LEFT JOIN grant_entry AS e ON e.grant_id = grant_remedy.grant_id
            AND e.remedy = grant_remedy.remedy
          LEFT JOIN (
            SELECT a.grant_id, a.remedy, max(a.position) AS position FROM grant_entry AS a
            WHERE a.movement = 'fail' AND NOT EXISTS (
              SELECT 1 FROM grant_entry AS b WHERE b.grant_id = a.grant_id
              AND b.remedy = a.remedy AND b.movement = 'fulfil' AND b.position > a.position)
            GROUP BY a.grant_id, a.remedy
          ) AS f ON f.grant_id = grant_remedy.grant_id AND f.remedy = grant_remedy.remedy
          GROUP BY grant_remedy.grant_id, grant_remedy.position, grant_remedy.remedy,
            grant_remedy.kind, grant_remedy.policy, grant_remedy.source, grant_.currency,
            grant_remedy.valid_for_us
        ) AS summed
    """
