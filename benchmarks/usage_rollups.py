"""Measure the queries of usage over millions of records.

    DATABASE_URL=… PROXYSITE_HOME=… python -m benchmarks.usage_rollups [--records 5000000]

Fills an empty database of its own with thirty days of made-up records: 200 keys of 40
users in 8 teams, 10 models of 4 providers with 20 tokens. The roll-ups are computed from them, as
after an upgrade. Then it prints how long each group-by of the thirty days takes, the best of
three, and compares the sums with those of the records themselves.
"""

import argparse
import os
import time
from datetime import UTC, datetime, timedelta

DAYS = 30
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
# key: a few do most; each has three models, each model a provider, each provider five tokens
NUMBERS = """
    WITH dice AS MATERIALIZED (
        SELECT i, random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5
        FROM {series}
    ), numbers AS MATERIALIZED (
        SELECT i, (200 * r1 * r1 * r1)::int % 200 + 1 AS key_id, (3 * r2 * r2)::int AS choice,
            (4.999 * r3)::int AS token, r4, r5
        FROM dice
    )
"""
SQLITE_SERIES = (
    "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {records}) "
    "SELECT i FROM n)"
)
POSTGRES_SERIES = "generate_series(0, {records} - 1) AS i"
COLUMNS = (
    "id, started_at, key_id, user_id, team_id, model, provider_id, token_id, endpoint, stream, "
    "status, http_status, error_code, attempts, prompt_tokens, completion_tokens, "
    "reasoning_tokens, cached_tokens, estimated, cost_micro_usd, total_ms"
)
INSERT = """
    INSERT INTO api_usagerecord ({columns}) {numbers}
    SELECT {id}, {started_at}, key_id, key_id % 40 + 1, key_id % 40 % 8 + 1,
        'model-' || ((key_id + choice) % 10), (key_id + choice) % 10 % 4 + 1, {token},
        'chat/completions', {true},
        CASE WHEN r4 < 0.95 THEN 'complete' WHEN r4 < 0.98 THEN 'error'
            WHEN r4 < 0.99 THEN 'abandoned' ELSE 'refused' END,
        200, '', {attempts}, (4000 * r5)::int, (900 * r4)::int, 0, (1000 * r5)::int, {false},
        CASE WHEN r5 > 0.05 AND r4 < 0.99 THEN (20000 * r5 * r4)::int END, 1000 * r4
    FROM numbers
"""
ATTEMPT = (
    '[{"provider": "made-up", "model": "upstream-model", "token": null, "outcome": "answered", '
    '"reason": "", "status": 200, "connect_ms": 1.5, "first_byte_ms": 250.5, "total_ms": 900.5}]'
)


def set_up() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    django.setup()


def render_insert(vendor: str, records: int) -> str:
    """Return the statement that makes the records."""
    step_ms = DAYS * 86_400_000 / records
    begin_ms = int(BEGIN.timestamp() * 1000)
    milliseconds = f"({begin_ms} + i * {step_ms!r})"
    if vendor == "postgresql":
        return INSERT.format(
            columns=COLUMNS,
            numbers=NUMBERS.format(series=POSTGRES_SERIES.format(records=records)),
            id=(
                f"(lpad(to_hex({milliseconds}::bigint), 12, '0') || '7000' || "
                "lpad(to_hex(i), 16, '8'))::uuid"
            ),
            started_at=f"to_timestamp({milliseconds} / 1000.0)",
            token="lpad(to_hex((key_id + choice) % 10 % 4 * 5 + token + 1), 32, '0')::uuid",
            attempts=f"'{ATTEMPT}'::jsonb",
            true="true",
            false="false",
        )
    statement = INSERT.format(
        columns=COLUMNS,
        numbers=NUMBERS.format(series=SQLITE_SERIES.format(records=records)),
        id=f"printf('%012x7000%016x', CAST({milliseconds} AS INTEGER), i)",
        started_at=(
            f"strftime('%Y-%m-%d %H:%M:%f', {milliseconds} / 1000.0, 'unixepoch') || '000'"
        ),
        token="printf('%032x', (key_id + choice) % 10 % 4 * 5 + token + 1)",
        attempts=f"'{ATTEMPT}'",
        true="1",
        false="0",
    )
    return to_sqlite(statement)


def to_sqlite(statement: str) -> str:
    """Return a statement with SQLite's random numbers and conversions."""
    statement = statement.replace("random()", "(abs(random() % 1000000) / 1000000.0)")
    for product in ("(200 * r1 * r1 * r1)", "(3 * r2 * r2)", "(4.999 * r3)", "(4000 * r5)"):
        statement = statement.replace(f"{product}::int", f"CAST({product} AS INTEGER)")
    for product in ("(900 * r4)", "(1000 * r5)", "(20000 * r5 * r4)"):
        statement = statement.replace(f"{product}::int", f"CAST({product} AS INTEGER)")
    return statement


def create_records(records: int) -> None:
    """Write the records without their roll-ups, and note that these are to be computed."""
    from django.core.management import call_command
    from django.db import connection

    from api.models import RollupState, UsageRecord

    call_command("migrate", verbosity=0)

    if UsageRecord.objects.exists():
        print("There are records already; they are measured.")
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("ALTER TABLE api_usagerecord DISABLE TRIGGER USER")
        cursor.execute(render_insert(connection.vendor, records))
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE api_usagerecord ENABLE TRIGGER USER")
            cursor.execute("ANALYZE api_usagerecord")
    last = UsageRecord.objects.order_by("-id")[0].pk
    RollupState.objects.update_or_create(
        pk=1, defaults={"needs_rebuild": True, "folded_record": last}
    )


def measure_queries() -> None:
    """Print the best of three times of each query."""
    from api.usage.usage_query import GROUPS, UsageQuery, read_usage

    end = BEGIN + timedelta(days=DAYS)
    for group_by in [*((group,) for group in GROUPS), ("day", "model"), ("user", "model")]:
        times = []
        for _ in range(3):
            started_at = time.perf_counter()
            sums = read_usage(UsageQuery(group_by, BEGIN, end, limit=1000))
            times.append((time.perf_counter() - started_at) * 1000)
        print(f"{','.join(group_by):<12} {min(times):8.1f} ms {len(sums.groups):6} groups")
    print(f"totals: {sums.totals}")


def check_totals() -> None:
    """Print the sums of the records themselves, and what the comparison finds."""
    from django.db.models import Sum

    from api.models import UsageRecord
    from api.usage import reconciliation

    started_at = time.perf_counter()
    print(
        "records:",
        UsageRecord.objects.aggregate(
            requests=Sum("request_count"), cost_micro_usd=Sum("cost_micro_usd")
        ),
        f"{time.perf_counter() - started_at:.1f} s",
    )
    started_at = time.perf_counter()
    found = reconciliation.compare_rollups(*reconciliation.find_records_span())
    print(f"differences: {found.rows}, {time.perf_counter() - started_at:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=5_000_000)
    options = parser.parse_args()
    set_up()
    from api.models import UsageDay, UsageHour
    from api.usage import reconciliation

    started_at = time.perf_counter()
    create_records(options.records)
    print(f"records made: {time.perf_counter() - started_at:.1f} s")
    started_at = time.perf_counter()
    if reconciliation.complete_rollups():
        print(f"roll-ups made: {time.perf_counter() - started_at:.1f} s")
    print(f"{UsageHour.objects.count()} rows of hours, {UsageDay.objects.count()} of days")
    measure_queries()
    check_totals()


if __name__ == "__main__":
    main()
