"""Check the database: that it answers, its tables, its secrets and its clock."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from proxysite.doctor.findings import OK, PROBLEM, WARNING, Finding
from proxysite.first_run import schema_check
from tokens import secret_check
from tokens.models import SecretCheck
from tokens.secret_check import SecretsDiffer

MOST_CLOCK_SECONDS = 2.0  # between this machine and the database
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def check_database() -> Iterator[Finding]:
    """Yield whether the database answers, and then what is in it."""
    started = time.perf_counter()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        text = str(error).strip().partition("\n")[0]
        yield Finding(
            "database", PROBLEM, f"It does not answer: {text}.", "Start it, or see DATABASE_URL."
        )
        return
    took_ms = (time.perf_counter() - started) * 1000
    name = NAMES.get(connection.vendor, connection.vendor)
    yield Finding("database", OK, f"{name} answers in {took_ms:.1f} ms")
    yield from check_tables()
    yield from check_secrets()
    yield from check_clock()


def check_tables() -> Iterator[Finding]:
    """Yield whether the tables are those of this release."""
    if unknown := schema_check.find_unknown_migrations():
        yield Finding(
            "tables",
            PROBLEM,
            f"The database is of a newer release: it has {unknown[0]}.",
            "Start that release, or restore a backup from before it.",
        )
        return
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        yield Finding(
            "tables", WARNING, f"{len(pending)} migrations have not run.", "Start `serve` once."
        )
    elif missing := schema_check.find_missing_columns():
        yield Finding(
            "tables",
            PROBLEM,
            f"{missing[0]} is missing.",
            "Restore a backup; see docs/operations.md.",
        )
    else:
        yield Finding("tables", OK, "all migrations have run")


def check_secrets() -> Iterator[Finding]:
    """Yield whether this process's secrets are those of the database. Writes nothing."""
    values = dict(SecretCheck.objects.values_list("name", "value"))
    wrong = [
        name for name, value in values.items() if not secret_check.fits_own_secrets(name, value)
    ]
    if wrong:
        yield Finding("secrets", PROBLEM, str(SecretsDiffer(sorted(wrong))))
    else:
        yield Finding("secrets", OK, "they open what the database holds")


def check_clock() -> Iterator[Finding]:
    """Yield whether the clocks of this machine and of Postgres agree."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    apart = abs((datetime.now(UTC) - theirs).total_seconds())
    text = f"{apart:.1f} s apart from the database's"
    if apart > MOST_CLOCK_SECONDS:
        yield Finding(
            "clock", WARNING, f"It is {text}.", "Let a time service (NTP) set the clocks."
        )
    else:
        yield Finding("clock", OK, text)
