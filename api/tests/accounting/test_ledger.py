import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.accounting import journal
from api.accounting.ledger import Ledger
from api.accounting.spool import Spool
from api.accounting.usage_table import COLUMNS
from api.accounting.write_errors import RowsRefused, WriteFailed
from api.models import Status
from conversations.text.token_estimate import MESSAGE_TOKENS
from providers.exceptions import (
    Disconnected,
    InvalidRequest,
    NoAvailableToken,
    PoolResting,
    Rejected,
    Unreachable,
    UpstreamTimeout,
)
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


class Kept:
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


async def answered(
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


async def consume(kept: Kept, asked: Trace, batches: Batches) -> list[Chunk]:
    """What a door does with one request; returns when the last byte may be sent."""
    kept.ledger.open_record(asked)
    found: list[Chunk] = []
    async with aclosing(kept.ledger.record_batches(asked, batches)) as recorded:
        async for batch in recorded:
            found += batch
    return found


async def served(kept: Kept, asked: Trace, batches: Batches) -> BaseException | None:
    try:
        async with asyncio.timeout(10):
            await consume(kept, asked, batches)
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        return error
    return None


async def until(condition: Callable[[], Any]) -> None:
    """Returns when it holds; the ten seconds only keep a failing test from waiting for ever."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a file or in a table
            await asyncio.sleep(0.002)


def row(kept: Kept, number: int = 1) -> dict[str, Any]:
    """The one row of a request."""
    assert list(kept.writer.table) == [f"{number:032x}"]
    return kept.writer.table[f"{number:032x}"]


# --- one request, one row -------------------------------------------------------------------------
async def test_an_answer_passes_through_unchanged_and_has_a_row_with_its_facts(kept: Kept) -> None:
    asked = trace()
    batches = [
        [chunk("hel")],
        [chunk("lo"), chunk("!", usage={"prompt_tokens": 3, "completion_tokens": 5})],
    ]
    assert await consume(kept, asked, answered(asked, batches)) == [
        one for batch in batches for one in batch
    ]
    found = row(kept)
    assert (found["key_id"], found["user_id"], found["provider_id"], found["token_id"]) == (
        11,
        12,
        13,
        f"{99:032x}",
    )
    assert (found["endpoint"], found["model"], found["stream"]) == (CHAT, "m", True)
    assert (found["status"], found["http_status"], found["error_code"]) == ("complete", 200, "")
    assert (found["prompt_tokens"], found["completion_tokens"], found["estimated"]) == (3, 5, False)
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["answered"]
    assert found["attempts"][0]["token"] == UUID(int=99)
    assert 0 <= found["queue_ms"] <= found["first_byte_ms"] <= found["total_ms"]
    assert kept.in_flight() == []


async def test_a_request_stands_in_the_journal_until_its_row_is_committed(kept: Kept) -> None:
    asked = trace()
    kept.ledger.open_record(asked)
    assert kept.in_flight() == [asked.request.id]
    kept.writer.gate.clear()
    recorded = kept.ledger.record_batches(asked, answered(asked, [[chunk("a")]]))
    await anext(recorded)
    ending = asyncio.create_task(anext(recorded, None))
    await kept.writer.reached.wait()
    assert kept.in_flight() == [asked.request.id]
    kept.writer.gate.set()
    assert await ending is None
    assert kept.in_flight() == []


async def test_the_end_is_told_only_when_the_row_is_committed(kept: Kept) -> None:
    asked = trace()
    kept.writer.gate.clear()
    task = asyncio.create_task(consume(kept, asked, answered(asked, [[chunk("a")]])))
    await kept.writer.reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    kept.writer.gate.set()
    await task
    assert row(kept)["status"] == "complete"


ERRORS: dict[str, tuple[BaseException, int, str]] = {
    "the upstream is away": (Unreachable("x"), 502, "upstream_unreachable"),
    "the upstream is slow": (UpstreamTimeout("x"), 504, "upstream_timeout"),
    "the upstream refuses": (
        Rejected("x", code="context_length_exceeded"),
        400,
        "context_length_exceeded",
    ),
    "no token": (NoAvailableToken("x"), 503, "no_available_token"),
    "all rest": (PoolResting("x"), 429, "rate_limit_exceeded"),
    "the caller is wrong": (InvalidRequest("x"), 400, "invalid_value"),
    "we are wrong": (ZeroDivisionError(), 500, "internal_error"),
    "a code of an odd kind": (Rejected("x", code="a\0b\n" + "c" * 999), 400, "ab" + "c" * 62),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_has_one_row_that_says_whether_the_answer_had_begun(
    kept: Kept, case: str, begun: bool
) -> None:
    error, http_status, code = ERRORS[case]
    asked = trace()
    batches = [[chunk("hello")]] if begun else []
    assert await served(kept, asked, answered(asked, batches, error)) is error
    found = row(kept)
    assert found["status"] == (Status.TRUNCATED if begun else Status.ERROR)
    assert (found["http_status"], found["error_code"]) == (http_status, code)
    assert (found["completion_tokens"] > 0, found["estimated"]) == (begun, begun)
    assert kept.in_flight() == []


async def test_a_stream_that_was_cut_has_its_usage_estimated(kept: Kept) -> None:
    asked = trace(body={"messages": [{"role": "user", "content": "hello world"}]})
    await served(kept, asked, answered(asked, [[chunk("hello world")]], Disconnected("x")))
    found = row(kept)
    assert (found["estimated"], found["completion_tokens"], found["prompt_tokens"]) == (
        True,
        2,
        2 + MESSAGE_TOKENS,
    )


async def stuck(
    asked: Trace, batches: list[list[Chunk]], reached: asyncio.Event, closed: list[str]
) -> Batches:
    """An upstream that says `batches` and then nothing for ever."""
    call = asked.meter.begin_call(asked.request.body)
    call.attempt = asked.add_attempt("p", "m")
    try:
        for batch in batches:
            call.record_chunks(batch)
            yield batch
        reached.set()
        await asyncio.Event().wait()
    finally:
        closed.append("upstream")


@pytest.mark.parametrize("begun", [False, True])
async def test_a_caller_who_leaves_has_a_row_and_the_upstream_is_closed(
    kept: Kept, begun: bool
) -> None:
    asked, reached, closed = trace(), asyncio.Event(), []
    batches = [[chunk("hello")]] if begun else []
    task = asyncio.create_task(served(kept, asked, stuck(asked, batches, reached, closed)))
    await reached.wait()
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)
    await until(lambda: kept.writer.table)
    found = row(kept)
    assert (found["status"], found["http_status"], found["error_code"]) == ("abandoned", 499, "")
    assert found["completion_tokens"] == int(begun)
    assert closed == ["upstream"]
    await until(lambda: kept.in_flight() == [])


async def test_a_stream_that_its_reader_drops_has_a_row(kept: Kept) -> None:
    asked, closed = trace(), []
    kept.ledger.open_record(asked)
    async with aclosing(
        kept.ledger.record_batches(asked, stuck(asked, [[chunk("a")]], asyncio.Event(), closed))
    ) as recorded:
        await anext(recorded)
    assert row(kept)["status"] == "abandoned"
    assert closed == ["upstream"]


async def test_a_caller_who_leaves_while_the_row_is_committed_has_one_row_and_leaves_nothing_behind(
    kept: Kept,
) -> None:
    asked = trace()
    kept.writer.gate.clear()
    task = asyncio.create_task(served(kept, asked, answered(asked, [[chunk("a")]])))
    await kept.writer.reached.wait()
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)
    kept.writer.gate.set()
    await until(lambda: kept.in_flight() == [])
    assert row(kept)["status"] == "complete"
    assert kept.ledger._slots_by_request == {}


async def test_a_caller_who_leaves_while_tokens_are_counted_has_one_row(
    kept: Kept, settings: Any
) -> None:
    settings.COUNT_INLINE_BYTES = 0  # so that counting is done beside the event loop
    asked = trace(body={"messages": [{"role": "user", "content": "hello"}]})
    kept.ledger.open_record(asked)
    recorded = kept.ledger.record_batches(asked, answered(asked, [[chunk("a" * 400)]]))
    await anext(recorded)
    ending = asyncio.create_task(anext(recorded, None))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await until(lambda: kept.in_flight() == [])
    found = row(kept)
    assert found["estimated"]
    assert found["completion_tokens"] > 0


ODD: list[Chunk] = [
    chunk(["a", "b"]),
    chunk([{"type": "text", "text": "a"}]),
    chunk(5),
    chunk({"a": 1}),
    chunk(None, usage=5),
    chunk("a", usage=[]),
    {"choices": [{"index": 0, "delta": {"reasoning_content": ["a"], "reasoning": 5}}]},
    {
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}
        ]
    },
    {"choices": [{"index": 0, "delta": {"tool_calls": ["x", None]}}]},
    {"choices": [{"index": 0, "message": {"content": [{"type": "text", "text": "a"}]}}]},
    {"choices": [{"index": 0, "text": 5}]},
    {"choices": [{"index": 0}]},
    {"choices": []},
    {"data": [{"embedding": [0.5]}]},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_an_answer_of_an_odd_kind_has_one_row_and_ends_well(kept: Kept, odd: Chunk) -> None:
    asked = trace()
    assert await served(kept, asked, answered(asked, [[odd]])) is None
    assert row(kept)["status"] == "complete"
    assert kept.in_flight() == []


async def test_a_request_that_never_had_an_attempt_has_a_row(kept: Kept) -> None:
    async def nothing(asked: Trace) -> Batches:
        raise PoolResting("all rest")
        yield []

    asked = trace()
    await served(kept, asked, nothing(asked))
    found = row(kept)
    assert (found["attempts"], found["token_id"], found["provider_id"], found["queue_ms"]) == (
        [],
        None,
        None,
        None,
    )
    assert (found["prompt_tokens"], found["estimated"]) == (0, False)


async def test_hundreds_of_requests_that_end_in_every_way_have_exactly_one_row_each(
    kept: Kept,
) -> None:
    tasks: list[asyncio.Task[Any]] = []
    for number in range(300):
        asked = trace(number)
        error = [None, Unreachable("x"), ZeroDivisionError()][number % 3]
        if number % 4 == 3:
            batches = stuck(asked, [[chunk("a")]] * (number % 2), asyncio.Event(), [])
        else:
            batches = answered(asked, [[chunk("a")]] * (number % 5), error)
        tasks.append(asyncio.create_task(served(kept, asked, batches)))
    for _ in range(10):
        await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        if number % 4 == 3:
            task.cancel()
    await asyncio.gather(*tasks)
    await until(lambda: kept.in_flight() == [])
    assert sorted(kept.writer.table) == [f"{number:032x}" for number in range(300)]
    assert {found["status"] for found in kept.writer.table.values()} == {
        "complete",
        "error",
        "truncated",
        "abandoned",
    }
    assert kept.ledger._slots_by_request == {}


# --- group commit ---------------------------------------------------------------------------------
def serve(kept: Kept, numbers: range) -> list[Awaitable[Any]]:
    asked = {number: trace(number) for number in numbers}
    return [
        asyncio.create_task(served(kept, one, answered(one, [[chunk("a")]])))
        for one in asked.values()
    ]


async def test_requests_that_end_together_share_a_commit(kept: Kept) -> None:
    assert await asyncio.gather(*serve(kept, range(40))) == [None] * 40
    assert kept.writer.batches == [40]


async def test_while_one_batch_commits_the_next_one_collects(kept: Kept) -> None:
    kept.writer.gate.clear()
    first = serve(kept, range(1))
    await kept.writer.reached.wait()
    others = serve(kept, range(1, 51))
    await until(lambda: len(kept.ledger._waiting_rows) == 50)
    kept.writer.gate.set()
    assert await asyncio.gather(*first, *others) == [None] * 51
    assert kept.writer.batches == [1, 50]


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(kept: Kept) -> None:
    kept.writer.refuses = {f"{7:032x}", f"{11:032x}"}
    assert await asyncio.gather(*serve(kept, range(20))) == [None] * 20
    assert len(kept.writer.table) == 18
    assert not kept.ledger.is_suspended
    assert await asyncio.gather(*serve(kept, range(20, 25))) == [None] * 5
