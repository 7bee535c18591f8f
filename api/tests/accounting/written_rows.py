"""Rows for the writers of usage records, and helpers that write and read them."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from api.accounting.usage_table import COLUMNS
from api.accounting.writers import Writer
from api.models import UsageRecord
from providers.database.database_threads import run_in_thread

committed = pytest.mark.usefixtures("transactional_db")
sqlite_only = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own writer")
postgres_only = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="Postgres's own writer"
)

AT = "2026-11-21T10:00:00.123456+00:00"
ATTEMPT = {
    "provider": "p",
    "token": UUID(int=5),
    "reason": 'a\tb\\n\u2028"é',
    "total_ms": 1.5,
    "status": None,
}


VALUES = (
    "",
    AT,
    11,
    12,
    13,
    f"{99:032x}",
    "chat/completions",
    "m",
    True,
    "complete",
    200,
    "",
    [ATTEMPT],
    1,
    2,
    3,
    4,
    True,
    0.25,
    None,
    1e-05,
    12345.678,
    5,
    14,
    2**40,
    15,
    2**33,
    "key tokens_per_minute",
    3,
    2**62,
    "Claude Code",
)


def make_row(number: int = 1, **fields: Any) -> list[Any]:
    return list(
        (dict(zip(COLUMNS, VALUES, strict=True)) | {"id": f"{number:032x}"} | fields).values()
    )


async def load_records() -> list[UsageRecord]:
    return await run_in_thread(lambda: list(UsageRecord.objects.order_by("id")))


async def write_rows(writer: Writer, *rows: list[Any]) -> None:
    """Fails rather than waits for ever."""
    async with asyncio.timeout(5):
        await writer.write_rows(list(rows))
