"""The statements that add usage records to the roll-ups, for SQLite and Postgres.

All names come from this project's code, never from input. `source` is a table, or a subquery in
parentheses, with the columns of usage records; the statements add its sums to the roll-ups. They
write rows in the order of their keys, and always one table after the other: two transactions
that do so never wait for each other in a circle.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from api.models.team import DEEPEST_TEAM
from api.models.usage_rollup import ROLLUP_KEYS

RECORDS = "api_usagerecord"
HOURS = "api_usagehour"
HOUR_TOTALS = "api_usagehourtotal"
DAYS = "api_usageday"
SPEND = "api_spend"
STATE = "api_rollupstate"
TOTAL_KEYS = ("slot", "status", "shard")  # of the totals of hours
SPEND_KEYS = ("subject_kind", "subject_id", "slot")
TOTAL_SLOT = "1970-01-01 00:00:00"  # of the row with all that a subject spent
SQLITE_NIL_UUID = "0" * 32
POSTGRES_NIL_UUID = "00000000-0000-0000-0000-000000000000"
UNKNOWN_COST = "CASE WHEN cost_micro_usd IS NULL AND status <> 'refused' THEN request_count END"
# the value of a record that each column of sums adds up
SUMMED_VALUES = {
    "requests": "request_count",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cost_micro_usd": "cost_micro_usd",
    "unknown_cost_requests": UNKNOWN_COST,
}
SUMS = tuple(SUMMED_VALUES)
# SQLite: the place of the last record that the roll-ups contain. Places follow the order of
# writing, but VACUUM numbers them anew, so that the mark is an id.
FOLDED_ROWID = (
    f"COALESCE((SELECT rowid FROM {RECORDS} WHERE id = (SELECT folded_record FROM {STATE})), 0)"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The expressions that differ between the databases.

    `hour`, `day` and `quarter` are the slots in which a record's `started_at` lies. `shard` numbers
    the connection, for the totals of hours.
    """

    vendor: str
    hour: str
    day: str
    quarter: str
    nil_uuid: str
    total_slot: str
    shard: str
    bigint: str  # put behind a sum, so that it has the type of its column


SQLITE = Dialect(
    "sqlite",
    hour="substr(started_at, 1, 13) || ':00:00'",
    day="substr(started_at, 1, 10)",
    quarter=(
        "substr(started_at, 1, 14) || CASE CAST(substr(started_at, 15, 2) AS INTEGER) / 15 "
        "WHEN 0 THEN '00' WHEN 1 THEN '15' WHEN 2 THEN '30' ELSE '45' END || ':00'"
    ),
    nil_uuid=f"'{SQLITE_NIL_UUID}'",
    total_slot=f"'{TOTAL_SLOT}'",
    shard="0",
    bigint="",
)
POSTGRES = Dialect(
    "postgresql",
    hour="date_trunc('hour', started_at, 'UTC')",
    day="(started_at AT TIME ZONE 'UTC')::date",
    quarter="to_timestamp(floor(extract(epoch FROM started_at) / 900) * 900)",
    nil_uuid=f"'{POSTGRES_NIL_UUID}'::uuid",
    total_slot=f"'{TOTAL_SLOT}+00'::timestamptz",
    shard="pg_backend_pid() % 16",
    bigint="::bigint",
)


def get_dialect(vendor: str) -> Dialect:
    return POSTGRES if vendor == "postgresql" else SQLITE


def render_day_of_hour(dialect: Dialect) -> str:
    """Return the day of an hour's slot."""
    return dialect.day.replace("started_at", "slot")


def adapt_moment(dialect: Dialect, moment: datetime) -> datetime | str:
    """Return a time as the database compares it; SQLite has texts without an offset."""
    if dialect.vendor == "sqlite":
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return moment


# --- hours and days -------------------------------------------------------------------------------
def render_key_values(dialect: Dialect, slot: str) -> dict[str, str]:
    """Return the value of a record for each of ROLLUP_KEYS, the key of hours and days."""
    values = (
        slot,
        "COALESCE(key_id, 0)",
        "COALESCE(user_id, 0)",
        "COALESCE(team_id, 0)",
        "model",
        "COALESCE(provider_id, 0)",
        f"COALESCE(token_id, {dialect.nil_uuid})",
        "status",
    )
    return dict(zip(ROLLUP_KEYS, values, strict=True))


def render_total_values(dialect: Dialect) -> dict[str, str]:
    """Return the value of a record for each of TOTAL_KEYS, the key of the totals of hours."""
    return dict(zip(TOTAL_KEYS, (dialect.hour, "status", dialect.shard), strict=True))


def render_sum(dialect: Dialect, value: str, sign: str = "") -> str:
    """Return the sum of a value; with `sign`, the name of a column, of its products with that."""
    product = f"{sign} * ({value})" if sign else value
    return f"COALESCE(SUM({product}), 0){dialect.bigint}"


def render_grouped_sums(
    dialect: Dialect, key_values: dict[str, str], source: str, sign: str = ""
) -> str:
    """Return the query for the sums of records by a key: its columns, and their values."""
    keys = ", ".join(f"{value} AS {name}" for name, value in key_values.items())
    sums = ", ".join(
        f"{render_sum(dialect, value, sign)} AS {name}" for name, value in SUMMED_VALUES.items()
    )
    numbers = render_numbers(len(key_values))
    return f"SELECT {keys}, {sums} FROM {source} AS records GROUP BY {numbers}"


def render_numbers(count: int) -> str:
    """Return the numbers of the first columns, for GROUP BY and ORDER BY."""
    return ", ".join(str(number) for number in range(1, count + 1))


def render_add_sums(
    dialect: Dialect, table: str, key_values: dict[str, str], source: str, sign: str = ""
) -> str:
    """Return the statement that adds records to a table of sums."""
    query = render_grouped_sums(dialect, key_values, source, sign)
    if sign:  # an update that changes no sum writes nothing
        changed = " OR ".join(f"{name} <> 0" for name in SUMS)
        query = f"SELECT * FROM ({query}) AS changes WHERE {changed}"
    return render_upsert(table, tuple(key_values), SUMS, query)


def render_upsert(table: str, keys: tuple[str, ...], sums: tuple[str, ...], query: str) -> str:
    """Return the statement that adds the rows of a query to those of a table, in key order."""
    columns = ", ".join((*keys, *sums))
    numbers = render_numbers(len(keys))
    additions = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {table} ({columns}) {query} ORDER BY {numbers} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {additions}"
    )


# --- spending -------------------------------------------------------------------------------------
def render_spend_query(dialect: Dialect, source: str, sign: str = "") -> str:
    """Return the query for the amount that each subject spent in each slot and altogether.

    The teams above a record's team are those of now, at most DEEPEST_TEAM.
    """
    cost = render_sum(dialect, "cost_micro_usd", sign)
    return f"""
    SELECT subject_kind, subject_id, slot, {render_sum(dialect, "micro_usd")} AS micro_usd
    FROM (
        WITH RECURSIVE costs AS (
            SELECT {dialect.quarter} AS slot, key_id, user_id, team_id, end_user_id,
                {cost} AS micro_usd
            FROM {source} AS records WHERE cost_micro_usd IS NOT NULL
            GROUP BY 1, 2, 3, 4, 5
        ), chains (team_id, above_id, depth) AS (
            SELECT DISTINCT team_id, team_id, 0 FROM costs WHERE team_id IS NOT NULL
            UNION
            SELECT chains.team_id, api_team.parent_id, chains.depth + 1
            FROM chains JOIN api_team ON api_team.id = chains.above_id
            WHERE api_team.parent_id IS NOT NULL AND chains.depth < {DEEPEST_TEAM}
        ), shares AS (
            SELECT 'key' AS subject_kind, key_id AS subject_id, slot, micro_usd
            FROM costs WHERE key_id IS NOT NULL
            UNION ALL
            SELECT 'user', user_id, slot, micro_usd FROM costs WHERE user_id IS NOT NULL
            UNION ALL
            SELECT 'end_user', end_user_id, slot, micro_usd
            FROM costs WHERE end_user_id IS NOT NULL
            UNION ALL
            SELECT 'team', above.above_id, costs.slot, costs.micro_usd
            FROM costs JOIN (SELECT DISTINCT team_id, above_id FROM chains) AS above
            ON above.team_id = costs.team_id
        )
        SELECT subject_kind, subject_id, slot, micro_usd FROM shares
        UNION ALL
        SELECT subject_kind, subject_id, {dialect.total_slot}, micro_usd FROM shares
    ) AS spent
    GROUP BY 1, 2, 3 HAVING SUM(micro_usd) <> 0
    """


def render_add_spend(dialect: Dialect, source: str, sign: str = "") -> str:
    """Return the statement that adds the costs of records to the spending of their subjects."""
    query = render_spend_query(dialect, source, sign)
    return render_upsert(SPEND, SPEND_KEYS, ("micro_usd",), query)
