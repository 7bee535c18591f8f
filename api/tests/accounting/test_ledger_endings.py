"""However a request ends, it has one usage record."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    catch_error,
    chunk,
    make_answer,
    stored_row,
    trace,
    until,
)
from providers.exceptions import (
    PoolResting,
    Unreachable,
)
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.trace import Trace


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
    harness: LedgerHarness, begun: bool
) -> None:
    asked, reached, closed = trace(), asyncio.Event(), []
    batches = [[chunk("hello")]] if begun else []
    task = asyncio.create_task(catch_error(harness, asked, stuck(asked, batches, reached, closed)))
    await reached.wait()
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)
    await until(lambda: harness.writer.table)
    found = stored_row(harness)
    assert (found["status"], found["http_status"], found["error_code"]) == ("abandoned", 499, "")
    assert found["completion_tokens"] == int(begun)
    assert closed == ["upstream"]
    await until(lambda: harness.in_flight() == [])


async def test_a_stream_that_its_reader_drops_has_a_row(harness: LedgerHarness) -> None:
    asked, closed = trace(), []
    harness.ledger.open_record(asked)
    async with aclosing(
        harness.ledger.record_batches(asked, stuck(asked, [[chunk("a")]], asyncio.Event(), closed))
    ) as recorded:
        await anext(recorded)
    assert stored_row(harness)["status"] == "abandoned"
    assert closed == ["upstream"]


async def test_a_caller_who_leaves_while_the_row_is_committed_has_one_row_and_leaves_nothing_behind(
    harness: LedgerHarness,
) -> None:
    asked = trace()
    harness.writer.gate.clear()
    task = asyncio.create_task(catch_error(harness, asked, make_answer(asked, [[chunk("a")]])))
    await harness.writer.reached.wait()
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)
    harness.writer.gate.set()
    await until(lambda: harness.in_flight() == [])
    assert stored_row(harness)["status"] == "complete"
    assert harness.ledger._open_requests == {}


async def test_a_caller_who_leaves_while_tokens_are_counted_has_one_row(
    harness: LedgerHarness, settings: Any
) -> None:
    settings.COUNT_INLINE_BYTES = 0  # so that counting is done beside the event loop
    asked = trace(body={"messages": [{"role": "user", "content": "hello"}]})
    harness.ledger.open_record(asked)
    recorded = harness.ledger.record_batches(asked, make_answer(asked, [[chunk("a" * 400)]]))
    await anext(recorded)
    ending = asyncio.create_task(anext(recorded, None))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await until(lambda: harness.in_flight() == [])
    found = stored_row(harness)
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
async def test_an_answer_of_an_odd_kind_has_one_row_and_ends_well(
    harness: LedgerHarness, odd: Chunk
) -> None:
    asked = trace()
    assert await catch_error(harness, asked, make_answer(asked, [[odd]])) is None
    assert stored_row(harness)["status"] == "complete"
    assert harness.in_flight() == []


async def test_a_request_that_never_had_an_attempt_has_a_row(harness: LedgerHarness) -> None:
    async def nothing(asked: Trace) -> Batches:
        raise PoolResting("all rest")
        yield []

    asked = trace()
    await catch_error(harness, asked, nothing(asked))
    found = stored_row(harness)
    assert (found["attempts"], found["token_id"], found["provider_id"], found["queue_ms"]) == (
        [],
        None,
        None,
        None,
    )
    assert (found["prompt_tokens"], found["estimated"]) == (0, False)


async def test_hundreds_of_requests_that_end_in_every_way_have_exactly_one_row_each(
    harness: LedgerHarness,
) -> None:
    tasks: list[asyncio.Task[Any]] = []
    for number in range(300):
        asked = trace(number)
        error = [None, Unreachable("x"), ZeroDivisionError()][number % 3]
        if number % 4 == 3:
            batches = stuck(asked, [[chunk("a")]] * (number % 2), asyncio.Event(), [])
        else:
            batches = make_answer(asked, [[chunk("a")]] * (number % 5), error)
        tasks.append(asyncio.create_task(catch_error(harness, asked, batches)))
    for _ in range(10):
        await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        if number % 4 == 3:
            task.cancel()
    await asyncio.gather(*tasks)
    await until(lambda: harness.in_flight() == [])
    assert sorted(harness.writer.table) == [f"{number:032x}" for number in range(300)]
    assert {found["status"] for found in harness.writer.table.values()} == {
        "complete",
        "error",
        "truncated",
        "abandoned",
    }
    assert harness.ledger._open_requests == {}
