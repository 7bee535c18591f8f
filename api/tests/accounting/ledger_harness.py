"""A ledger at work in a directory of its own, with requests, answers and rows for it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from api.accounting import journal
from api.accounting.journal import Journal
from api.accounting.ledger import Ledger
from api.accounting.spool import Spool
from api.accounting.usage_table import COLUMNS
from api.accounting.write_errors import RowsRefused, WriteFailed
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace


class MemoryWriter:
    """Keeps rows as a table would: by id, the first one stays. `broken` and `refuses` are what goes
    wrong.
    """

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self.batches: list[int] = []
        self.broken = False
        self.refuses: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()

    async def write_rows(self, rows: list[Any]) -> None:
        self.reached.set()
        await self.gate.wait()
        if self.broken:
            raise WriteFailed("made up")
        if any(len(row) != len(COLUMNS) or row[0] in self.refuses for row in rows):
            raise RowsRefused("made up")
        if rows:
            self.batches.append(len(rows))
        for row in rows:
            self.table.setdefault(row[0], dict(zip(COLUMNS, row, strict=True)))

    async def close(self) -> None:
        pass


class LedgerHarness:
    """A ledger at work, with its parts."""

    def __init__(self, home: Path) -> None:
        self.writer = MemoryWriter()
        self.spool = Spool(home / "spool", 100_000)
        self.ledger = Ledger(self.writer, self.spool, home / "journal")

    def in_flight(self) -> list[str]:
        """The requests that the journal would tell a successor about."""
        paths = journal.list_journals(self.ledger._journal_directory)
        return sorted(
            facts[0] for path in paths for facts in journal.parse_journal(path.read_bytes()).entries
        )


def trace(number: int = 1, *, stream: bool = True, body: dict[str, Any] | None = None) -> Trace:
    request = ChatRequest(
        id=f"{number:032x}", endpoint=CHAT, model="m", body=body or {"messages": []}, stream=stream
    )
    return Trace(request, key_id=11, user_id=12)


def chunk(text: Any, **more: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


async def make_answer(
    asked: Trace, batches: list[list[Chunk]], error: BaseException | None = None
) -> Batches:
    call = asked.meter.begin_call(asked.request.body)
    attempt = call.attempt = asked.add_attempt("p", "m", UUID(int=99), 13)
    for batch in batches:
        call.record_chunks(batch)
        yield batch
    if error is not None:
        attempt.record_end("cut" if batches else type(error).__name__, str(error))
        raise error
    attempt.record_end("answered")


async def consume(harness: LedgerHarness, asked: Trace, batches: Batches) -> list[Chunk]:
    """What a door does with one request; returns when the last byte may be sent."""
    harness.ledger.open_record(asked)
    found: list[Chunk] = []
    async with aclosing(harness.ledger.record_batches(asked, batches)) as recorded:
        async for batch in recorded:
            found += batch
    return found


async def catch_error(
    harness: LedgerHarness, asked: Trace, batches: Batches
) -> BaseException | None:
    try:
        async with asyncio.timeout(10):
            await consume(harness, asked, batches)
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        return error
    return None


async def until(condition: Callable[[], Any]) -> None:
    """Returns when it holds; the ten seconds only keep a failing test from waiting for ever."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a file or in a table
            await asyncio.sleep(0.002)


def stored_row(harness: LedgerHarness, number: int = 1) -> dict[str, Any]:
    """The one row of a request."""
    assert list(harness.writer.table) == [f"{number:032x}"]
    return harness.writer.table[f"{number:032x}"]


AT = "2026-11-21T10:00:00.123456+00:00"
VALUES = {
    "id": "",
    "started_at": AT,
    "key_id": 11,
    "user_id": 12,
    "provider_id": None,
    "token_id": None,
    "endpoint": "chat/completions",
    "model": "m",
    "stream": True,
    "status": "complete",
    "http_status": 200,
    "error_code": "",
    "attempts": [],
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "reasoning_tokens": 0,
    "cached_tokens": 0,
    "estimated": False,
    "queue_ms": 0.5,
    "connect_ms": None,
    "first_byte_ms": 1.0,
    "total_ms": 2.0,
    "cache_write_tokens": 0,
    "team_id": 14,
    "cost_micro_usd": 1_500,
    "price_id": 15,
    "reported_cost_micro_usd": None,
    "refused_by": "",
    "request_count": 1,
    "end_user_id": None,
    "client": "",
}


def row(number: int) -> list[Any]:
    values = VALUES | {"id": f"{number:032x}"}
    return [values[name] for name in COLUMNS]


def read_row_ids(harness: LedgerHarness) -> list[int]:
    return sorted(int(one, 16) for one in harness.writer.table)


def read_spooled_ids(harness: LedgerHarness) -> list[int]:
    lines = (
        line
        for path in harness.spool.list_waiting_files()
        for line in path.read_bytes().splitlines()
    )
    return sorted(int(orjson.loads(line)[0], 16) for line in lines)


async def serve(harness: LedgerHarness, number: int) -> BaseException | None:
    asked = trace(number)
    return await catch_error(harness, asked, make_answer(asked, [[chunk("a")]]))


def leave_journal(harness: LedgerHarness, *facts: list[Any]) -> Path:
    """The journal of a process that died."""
    ended = Journal(harness.ledger._journal_directory)
    for one in facts:
        ended.write_facts(one)
    ended.close()
    return ended.path


def facts(number: int) -> list[Any]:
    return [f"{number:032x}", AT, 11, 12, "embeddings", "m", False]
