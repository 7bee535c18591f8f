"""Rows that a writer writes, and how they are read."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import connection

from api.accounting.postgres_writer import PostgresWriter
from api.accounting.sqlite_writer import SqliteWriter
from api.accounting.usage_rows import row_from_facts
from api.accounting.writers import Writer
from api.models import UsageRecord
from api.tests.accounting.written_rows import (
    AT,
    ATTEMPT,
    committed,
    load_records,
    make_row,
    write_rows,
)
from providers.database.database_threads import run_in_thread


@committed
async def test_the_writer_of_the_configured_database_is_taken(writer: Writer) -> None:
    assert isinstance(writer, SqliteWriter if connection.vendor == "sqlite" else PostgresWriter)


@committed
async def test_a_row_is_committed_with_every_column_when_write_returns(writer: Writer) -> None:
    await write_rows(writer, make_row())
    [found] = await load_records()
    assert found.id == UUID(int=1)
    assert found.started_at == datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
    assert (found.key_id, found.user_id, found.provider_id, found.token_id) == (
        11,
        12,
        13,
        UUID(int=99),
    )
    assert (found.endpoint, found.model, found.stream, found.status) == (
        "chat/completions",
        "m",
        True,
        "complete",
    )
    assert (found.http_status, found.error_code) == (200, "")
    assert found.attempts == [ATTEMPT | {"token": str(UUID(int=5))}]
    assert (
        found.prompt_tokens,
        found.completion_tokens,
        found.reasoning_tokens,
        found.cached_tokens,
        found.cache_write_tokens,
    ) == (1, 2, 3, 4, 5)
    assert (found.team_id, found.price_id) == (14, 15)
    assert (found.cost_micro_usd, found.reported_cost_micro_usd) == (2**40, 2**33)
    assert found.end_user_id == 2**62
    assert found.client == "Claude Code"
    assert (found.refused_by, found.request_count) == ("key tokens_per_minute", 3)
    assert found.estimated is True
    assert (found.queue_ms, found.connect_ms) == (0.25, None)
    assert (found.first_byte_ms, found.total_ms) == (pytest.approx(1e-05), pytest.approx(12345.678))


@committed
async def test_a_row_of_the_writer_is_found_by_the_orm_as_one_of_its_own(writer: Writer) -> None:
    def questions() -> list[bool]:
        made = UsageRecord.objects.get(id=UUID(int=1))
        own = UsageRecord.objects.create(
            started_at=made.started_at, endpoint="e", model="m", stream=False, status="error"
        )
        found = UsageRecord.objects.filter(started_at=made.started_at)
        return [
            found.filter(token_id=UUID(int=99)).exists(),
            found.count() == 2,
            list(found.order_by("started_at").filter(started_at__lte=own.started_at)) != [],
            UsageRecord.objects.filter(
                attempts__0__provider="p", estimated=True, stream=True
            ).exists(),
        ]

    await write_rows(writer, make_row())
    assert await run_in_thread(questions) == [True] * 4


@committed
async def test_a_time_without_a_fraction_is_read_too(writer: Writer) -> None:
    await write_rows(writer, make_row(started_at="2026-11-21T10:00:00+00:00"))
    assert (await load_records())[0].started_at == datetime(2026, 11, 21, 10, tzinfo=UTC)


NOTHING = dict.fromkeys(
    (
        "key_id",
        "user_id",
        "provider_id",
        "token_id",
        "http_status",
        "queue_ms",
        "first_byte_ms",
        "total_ms",
    ),
    None,
)


@committed
async def test_a_row_about_nobody_and_nothing_is_written(writer: Writer) -> None:
    await write_rows(writer, make_row(attempts=[], **NOTHING))
    [found] = await load_records()
    assert (found.key_id, found.token_id, found.http_status, found.attempts, found.total_ms) == (
        None,
        None,
        None,
        [],
        None,
    )


TEXTS = [
    "",
    "\\N",
    "\\.",
    "a\tb",
    "a\nb\r\nc",
    "\\t\\n",
    "'\"`;--",
    "🎈\u2028\x85é",
    "NULL",
    "\x01\x1f",
    "a\\",
    " x ",
]


@committed
async def test_any_text_comes_back_exactly(writer: Writer) -> None:
    rows = [
        make_row(n, model=text, error_code=text, attempts=[{"reason": text}])
        for n, text in enumerate(TEXTS, 1)
    ]
    await write_rows(writer, *rows)
    found = await load_records()
    assert [one.model for one in found] == TEXTS
    assert [one.error_code for one in found] == TEXTS
    assert [one.attempts for one in found] == [[{"reason": text}] for text in TEXTS]


@committed
async def test_a_batch_is_written_whole(writer: Writer) -> None:
    await write_rows(writer, *(make_row(number) for number in range(1, 301)))
    await write_rows(writer)
    await write_rows(writer, *(make_row(number) for number in range(301, 304)))
    assert [found.id.int for found in await load_records()] == list(range(1, 304))


@committed
async def test_writing_twice_changes_nothing_and_does_not_hold_up_new_rows(writer: Writer) -> None:
    await write_rows(writer, make_row(1), make_row(2))
    await write_rows(
        writer, make_row(2, model="other"), make_row(3), make_row(1, status="error"), make_row(3)
    )
    await write_rows(writer, make_row(4))
    assert [(found.id.int, found.model, found.status) for found in await load_records()] == [
        *((number, "m", "complete") for number in (1, 2, 3, 4))
    ]


@committed
async def test_an_interrupted_row_never_replaces_the_one_that_was_committed(writer: Writer) -> None:
    for number in (1, 2):
        if number == 1:
            await write_rows(writer, make_row(1))
        await write_rows(
            writer, row_from_facts([f"{number:032x}", AT, None, None, "embeddings", "m", False])
        )
    found = [
        (one.id.int, one.status, one.error_code, one.http_status) for one in await load_records()
    ]
    assert found == [(1, "complete", "", 200), (2, "interrupted", "interrupted", None)]
