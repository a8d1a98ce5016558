"""Views for people and tools that read SQL: names and columns stay, new columns come at the end."""

# ruff: noqa: S608 -- all names are our own

from alembic import op

revision = "0004"
down_revision = "0003"

VIEWS = (
    "v_log",
    "v_decisions",
    "v_decision_caps",
    "v_grant_movements",
    "v_grant_remedies",
    "v_grants",
    "v_cap_movements",
    "v_caps",
)


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    dialect = _Postgres() if postgres else _Sqlite()
    for view in VIEWS:
        op.execute(f"CREATE VIEW {view} AS {_SELECTS[view](dialect)}")
    if postgres:
        _create_grant_function()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_grant_reader(text)")
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")


class _Postgres:
    """How PostgreSQL says it. A record is JSON in UTF-8 bytes."""

    def time(self, column: str, name: str) -> str:
        return f"timestamptz 'epoch' + {column} * interval '1 microsecond' AS {name}"

    def json(self, content: str) -> str:
        return f"convert_from({content}, 'UTF8')::jsonb"

    def parsed(self, text: str) -> str:
        return f"{text}::jsonb"

    def part(self, of: str, *path: str) -> str:
        return f"({of} #> '{{{','.join(path)}}}')"

    def text(self, of: str, *path: str) -> str:
        return f"({of} #>> '{{{','.join(path)}}}')"

    def number(self, of: str, *path: str) -> str:
        return f"{self.text(of, *path)}::bigint"

    def each(self, of: str, alias: str, *path: str) -> str:
        return f"jsonb_array_elements({self.part(of, *path)}) AS {alias}(value)"

    def hex(self, column: str) -> str:
        return f"encode({column}, 'hex')"

    def sum(self, what: str) -> str:
        return f"sum({what})::bigint"


class _Sqlite:
    """How SQLite says it; times are texts of RFC 3339."""

    def time(self, column: str, name: str) -> str:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000000.0, 'unixepoch') AS {name}"

    def json(self, content: str) -> str:
        return f"CAST({content} AS TEXT)"

    def parsed(self, text: str) -> str:
        return text

    def part(self, of: str, *path: str) -> str:
        return f"json_extract({of}, '{self._path(path)}')"

    text = part
    number = part

    def each(self, of: str, alias: str, *path: str) -> str:
        return f"json_each({of}, '{self._path(path)}') AS {alias}"

    def hex(self, column: str) -> str:
        return f"lower(hex({column}))"

    def sum(self, what: str) -> str:
        return f"sum({what})"

    def _path(self, path: tuple[str, ...]) -> str:
        return "$" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in path)


_Dialect = _Postgres | _Sqlite


def _log(sql: _Dialect) -> str:
    return f"""
        SELECT log_leaf.leaf_index AS log_index, record.id AS record_id, record.kind,
          {sql.time("record.recorded_at_us", "recorded_at")}, record.recorded_at_us,
          'sha256:' || {sql.hex("record.leaf_hash")} AS digest
        FROM record LEFT JOIN log_leaf ON log_leaf.record_id = record.id
    """


def _decisions(sql: _Dialect) -> str:
    plan = ("evaluation", "plans", "0")
    record = "parsed.record"
    return f"""
        SELECT decision.id AS decision_id, parsed.log_index, parsed.digest,
          {sql.time("decision.decided_at_us", "decided_at")}, decision.decided_at_us,
          decision.client, decision.order_id, decision.customer, decision.agent_id, decision.role,
          {sql.text(record, "agent", "role_from")} AS role_from,
          {sql.text(record, "request", "channel")} AS channel,
          decision.outcome,
          {sql.text(record, "evaluation", "currency")} AS currency,
          {sql.text(record, *plan, "plan")} AS plan,
          {sql.text(record, *plan, "authority", "status")} AS authority,
          {sql.text(record, *plan, "authority", "approver")} AS approver,
          {sql.text(record, *plan, "binding_cap")} AS binding_cap,
          {sql.number(record, *plan, "entitled")} AS entitled_minor,
          {sql.number(record, *plan, "allowed")} AS allowed_minor,
          {sql.number(record, *plan, "pending")} AS pending_minor,
          {sql.number(record, *plan, "uncovered")} AS uncovered_minor,
          decision.grantable, {sql.time("decision.expires_at_us", "expires_at")},
          decision.expires_at_us, decision.pack_revision
        FROM decision JOIN (
          SELECT record.id, log_leaf.leaf_index AS log_index,
            'sha256:' || {sql.hex("record.leaf_hash")} AS digest,
            {sql.json("record.content")} AS record
          FROM record LEFT JOIN log_leaf ON log_leaf.record_id = record.id
          WHERE record.kind = 'decision'
        ) AS parsed ON parsed.id = decision.id
    """


def _decision_caps(sql: _Dialect) -> str:
    return f"""
        SELECT parsed.id AS decision_id,
          {sql.time("parsed.recorded_at_us", "decided_at")}, parsed.recorded_at_us
            AS decided_at_us,
          {sql.text("parsed.record", "evaluation", "currency")} AS currency,
          {sql.text("each.value", "cap")} AS cap,
          {sql.text("each.value", "scope")} AS scope,
          {sql.text("each.value", "measure")} AS measure,
          {sql.text("each.value", "policy")} AS policy,
          {sql.number("each.value", "limit")} AS limit_amount,
          {sql.number("each.value", "used")} AS used_amount,
          {sql.number("each.value", "headroom")} AS headroom_amount,
          {sql.text("each.value", "resets_at")} AS resets_at
        FROM (
          SELECT record.id, record.recorded_at_us, {sql.json("record.content")} AS record
          FROM record WHERE record.kind = 'decision'
        ) AS parsed, {sql.each("parsed.record", "each", "evaluation", "caps")}
    """


def _grant_movements(sql: _Dialect) -> str:
    return f"""
        SELECT grant_entry.grant_id, grant_entry.position, log_leaf.leaf_index AS log_index,
          grant_entry.record_id, 'sha256:' || {sql.hex("record.leaf_hash")} AS digest,
          {sql.time("grant_entry.at_us", "at")}, grant_entry.at_us,
          {sql.time("grant_entry.counted_at_us", "counted_at")}, grant_entry.counted_at_us,
          grant_entry.movement, grant_entry.remedy, grant_remedy.kind, grant_remedy.policy,
          grant_remedy.source, grant_.plan, grant_.decision_id, grant_.order_id, grant_.customer,
          grant_.client, grant_.agent_id, grant_.role, grant_entry.actor, grant_.currency,
          grant_entry.minor, grant_entry.against
        FROM grant_entry
        JOIN grant_ ON grant_.id = grant_entry.grant_id
        JOIN grant_remedy ON grant_remedy.grant_id = grant_entry.grant_id
          AND grant_remedy.remedy = grant_entry.remedy
        JOIN record ON record.id = grant_entry.record_id
        LEFT JOIN log_leaf ON log_leaf.record_id = grant_entry.record_id
    """


def _grant_remedies(sql: _Dialect) -> str:
    def moved(movement: str) -> str:
        return f"coalesce({sql.sum(f'CASE WHEN e.movement = {movement!r} THEN e.minor END')}, 0)"

    return f"""
        SELECT grant_id, remedy, kind, policy, source, currency, granted_minor, pending_minor,
          CASE WHEN kind IN ('coupon', 'store_credit') THEN used_minor
            WHEN failed = 1 THEN 0
            ELSE granted_minor - reversed_minor END AS redeemed_minor,
          reversed_minor, expired_minor,
          CASE WHEN kind IN ('coupon', 'store_credit')
            THEN granted_minor - used_minor - reversed_minor - expired_minor
            WHEN failed = 1 THEN granted_minor - reversed_minor - expired_minor
            ELSE 0 END AS outstanding_minor,
          {sql.time("granted_at_us", "granted_at")}, granted_at_us,
          {sql.time("(granted_at_us + valid_for_us)", "valid_until")},
          granted_at_us + valid_for_us AS valid_until_us
        FROM (
          SELECT grant_remedy.grant_id, grant_remedy.position, grant_remedy.remedy,
            grant_remedy.kind, grant_remedy.policy, grant_remedy.source, grant_.currency,
            grant_remedy.valid_for_us,
            {moved("post")} AS granted_minor,
            coalesce({
        sql.sum('''CASE WHEN e.movement = 'reserve' AND NOT EXISTS (
              SELECT 1 FROM grant_entry AS s WHERE s.grant_id = e.grant_id
              AND s.against = e.position AND s.movement IN ('post', 'reject', 'lapse')
            ) THEN e.minor END''')
    }, 0) AS pending_minor,
            {moved("redeem")} AS used_minor,
            {moved("reverse")} AS reversed_minor,
            {moved("expire")} AS expired_minor,
            max(CASE WHEN e.movement = 'post' THEN e.at_us END) AS granted_at_us,
            coalesce(max(CASE WHEN e.movement = 'fail' AND NOT EXISTS (
              SELECT 1 FROM grant_entry AS f WHERE f.grant_id = e.grant_id
              AND f.remedy = e.remedy AND f.movement = 'fulfil' AND f.position > e.position
            ) THEN 1 END), 0) AS failed
          FROM grant_remedy
          JOIN grant_ ON grant_.id = grant_remedy.grant_id
          LEFT JOIN grant_entry AS e ON e.grant_id = grant_remedy.grant_id
            AND e.remedy = grant_remedy.remedy
          GROUP BY grant_remedy.grant_id, grant_remedy.position, grant_remedy.remedy,
            grant_remedy.kind, grant_remedy.policy, grant_remedy.source, grant_.currency,
            grant_remedy.valid_for_us
        ) AS summed
    """


def _grants(sql: _Dialect) -> str:
    figures = ", ".join(
        f"{sql.sum(f'r.{name}_minor')} AS {name}_minor"
        for name in ("granted", "pending", "redeemed", "reversed", "expired", "outstanding")
    )
    columns = ", ".join(
        f"grant_.{name}"
        for name in (
            "client", "order_id", "customer", "agent_id", "role", "plan", "currency", "approver",
        )
    )  # fmt: skip
    return f"""
        SELECT grant_.id AS grant_id, grant_.decision_id,
          {sql.time("grant_.granted_at_us", "granted_at")}, grant_.granted_at_us, {columns},
          grant_state.status, {figures},
          {sql.time("grant_.pending_until_us", "pending_until")}, grant_.pending_until_us,
          grant_.pack_revision
        FROM grant_
        JOIN grant_state ON grant_state.grant_id = grant_.id
        JOIN v_grant_remedies AS r ON r.grant_id = grant_.id
        GROUP BY grant_.id, grant_.decision_id, grant_.granted_at_us, {columns},
          grant_state.status, grant_.pending_until_us, grant_.pack_revision
    """


def _cap_movements(sql: _Dialect) -> str:
    return f"""
        SELECT record_id, position, grant_id, remedy, order_id, customer, agent_id, policy, kind,
          currency, minor, presence, {sql.time("counted_at_us", "counted_at")}, counted_at_us
        FROM cap_movement
    """


def _caps(sql: _Dialect) -> str:
    described = sql.parsed("limit_counter.described")
    return f"""
        SELECT limit_counter.counter,
          {sql.text(described, "0")} AS scope, {sql.text(described, "1")} AS scope_key,
          {sql.text(described, "2")} AS counted_in, {sql.text(described, "3")} AS measure,
          {sql.text(described, "4")} AS kinds, {sql.text(described, "5")} AS policies,
          {sql.text(described, "6")} AS currency,
          CASE WHEN limit_counter.period_us <> 0 THEN limit_counter.period_us END
            AS period_starts_at_us,
          limit_counter.amount AS used_amount
        FROM limit_counter
        WHERE {sql.text(described, "2")} NOT LIKE 'P%'
    """


_SELECTS = {
    "v_log": _log,
    "v_decisions": _decisions,
    "v_decision_caps": _decision_caps,
    "v_grant_movements": _grant_movements,
    "v_grant_remedies": _grant_remedies,
    "v_grants": _grants,
    "v_cap_movements": _cap_movements,
    "v_caps": _caps,
}


def _create_grant_function() -> None:
    """The rights of a role that only reads, and reads nothing but the views."""
    views = ", ".join(VIEWS)
    op.execute(
        "CREATE FUNCTION policy_engine_grant_reader(reader text) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN "
        "EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), reader); "
        f"EXECUTE format('GRANT SELECT ON {views} TO %I', reader); "
        "END $$"
    )
