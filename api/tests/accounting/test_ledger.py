"""Each request has one usage record, and requests that end together share a commit."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import pytest

from api.models import Status
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    catch_error,
    chunk,
    consume,
    make_answer,
    stored_row,
    trace,
    until,
)
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
from providers.protocol.request import CHAT


async def test_an_answer_passes_through_unchanged_and_has_a_row_with_its_facts(
    harness: LedgerHarness,
) -> None:
    asked = trace()
    batches = [
        [chunk("hel")],
        [chunk("lo"), chunk("!", usage={"prompt_tokens": 3, "completion_tokens": 5})],
    ]
    assert await consume(harness, asked, make_answer(asked, batches)) == [
        one for batch in batches for one in batch
    ]
    found = stored_row(harness)
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
    assert harness.in_flight() == []


async def test_a_request_stands_in_the_journal_until_its_row_is_committed(
    harness: LedgerHarness,
) -> None:
    asked = trace()
    harness.ledger.open_record(asked)
    assert harness.in_flight() == [asked.request.id]
    harness.writer.gate.clear()
    recorded = harness.ledger.record_batches(asked, make_answer(asked, [[chunk("a")]]))
    await anext(recorded)
    ending = asyncio.create_task(anext(recorded, None))
    await harness.writer.reached.wait()
    assert harness.in_flight() == [asked.request.id]
    harness.writer.gate.set()
    assert await ending is None
    assert harness.in_flight() == []


async def test_the_end_is_told_only_when_the_row_is_committed(harness: LedgerHarness) -> None:
    asked = trace()
    harness.writer.gate.clear()
    task = asyncio.create_task(consume(harness, asked, make_answer(asked, [[chunk("a")]])))
    await harness.writer.reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    harness.writer.gate.set()
    await task
    assert stored_row(harness)["status"] == "complete"


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
    harness: LedgerHarness, case: str, begun: bool
) -> None:
    error, http_status, code = ERRORS[case]
    asked = trace()
    batches = [[chunk("hello")]] if begun else []
    assert await catch_error(harness, asked, make_answer(asked, batches, error)) is error
    found = stored_row(harness)
    assert found["status"] == (Status.TRUNCATED if begun else Status.ERROR)
    assert (found["http_status"], found["error_code"]) == (http_status, code)
    assert (found["completion_tokens"] > 0, found["estimated"]) == (begun, begun)
    assert harness.in_flight() == []


async def test_a_stream_that_was_cut_has_its_usage_estimated(harness: LedgerHarness) -> None:
    asked = trace(body={"messages": [{"role": "user", "content": "hello world"}]})
    await catch_error(
        harness, asked, make_answer(asked, [[chunk("hello world")]], Disconnected("x"))
    )
    found = stored_row(harness)
    assert (found["estimated"], found["completion_tokens"], found["prompt_tokens"]) == (
        True,
        2,
        2 + MESSAGE_TOKENS,
    )


def start_requests(harness: LedgerHarness, numbers: range) -> list[Awaitable[Any]]:
    asked = {number: trace(number) for number in numbers}
    return [
        asyncio.create_task(catch_error(harness, one, make_answer(one, [[chunk("a")]])))
        for one in asked.values()
    ]


async def test_requests_that_end_together_share_a_commit(harness: LedgerHarness) -> None:
    assert await asyncio.gather(*start_requests(harness, range(40))) == [None] * 40
    assert harness.writer.batches == [40]


async def test_while_one_batch_commits_the_next_one_collects(harness: LedgerHarness) -> None:
    harness.writer.gate.clear()
    first = start_requests(harness, range(1))
    await harness.writer.reached.wait()
    others = start_requests(harness, range(1, 51))
    await until(lambda: len(harness.ledger._waiting_rows) == 50)
    harness.writer.gate.set()
    assert await asyncio.gather(*first, *others) == [None] * 51
    assert harness.writer.batches == [1, 50]


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(
    harness: LedgerHarness,
) -> None:
    harness.writer.refuses = {f"{7:032x}", f"{11:032x}"}
    assert await asyncio.gather(*start_requests(harness, range(20))) == [None] * 20
    assert len(harness.writer.table) == 18
    assert not harness.ledger.is_suspended
    assert await asyncio.gather(*start_requests(harness, range(20, 25))) == [None] * 5
