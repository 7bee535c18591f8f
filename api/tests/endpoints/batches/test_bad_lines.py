"""Lines that cannot be sent: the batch fails, and says which lines are wrong."""

import json

import pytest
from openai import BadRequestError

from api.batches.lines import line_runner
from api.batches.lines.input_lines import LineProblem, parse_line
from api.tests.endpoints.batches.batch_requests import (
    CHAT,
    make_line,
    make_lines,
    read_results,
    run_batch,
    store_input,
)
from proxysite.testing import rows

WRONG = [
    ("not json", "invalid_json_line", None),
    ("[1, 2]", "invalid_json_line", None),
    (json.dumps(make_line("a") | {"custom_id": 5}), "invalid_custom_id", "custom_id"),
    (json.dumps(make_line("b") | {"custom_id": ""}), "invalid_custom_id", "custom_id"),
    (json.dumps(make_line("c") | {"method": "GET"}), "invalid_method", "method"),
    (json.dumps(make_line("d") | {"url": "/v1/embeddings"}), "invalid_url", "url"),
    (json.dumps(make_line("e") | {"body": "text"}), "invalid_type", "body"),
    (json.dumps(make_line("f", stream=True)), "unsupported_parameter", "body.stream"),
    (json.dumps({"custom_id": "g", "method": "POST", "url": "x"}), "missing_required_parameter",
     "body"),
    (json.dumps(make_line("good")), "duplicate_custom_id", "custom_id"),
]  # fmt: skip


async def test_each_wrong_line_is_reported_with_its_number(client, upstream):
    lines = [make_line("good"), "", *(text for text, _code, _param in WRONG)]
    batch = await run_batch(client, lines)
    assert batch.status == "failed"
    assert batch.failed_at
    errors = [(error.line, error.code, error.param) for error in batch.errors.data]
    assert errors == [(number, code, param) for number, (_text, code, param) in enumerate(WRONG, 3)]
    assert all(error.message for error in batch.errors.data)
    assert not upstream.requests
    assert await rows.read_usage_records() == []


@pytest.mark.settings(BATCH_LINES=3, BATCH_LINE_BYTES=300)
async def test_a_batch_has_so_many_lines_of_such_a_length(client):
    batch = await run_batch(client, make_lines(4))
    (error,) = batch.errors.data
    assert (error.code, error.line) == ("too_many_lines", 4)
    batch = await run_batch(client, [make_line("a" * 300), make_line("b")])
    (error,) = batch.errors.data
    assert (error.code, error.line) == ("line_too_long", 1)


async def test_an_empty_file_has_nothing_to_ask(client):
    batch = await run_batch(client, ["", ""])
    (error,) = batch.errors.data
    assert (error.code, error.line) == ("empty_file", None)


async def test_at_most_a_hundred_errors_are_reported(client):
    batch = await run_batch(client, ["wrong"] * 150)
    assert len(batch.errors.data) == 100


async def test_a_byte_order_mark_and_blank_lines_are_no_fault(client):
    first, second = (json.dumps(line) for line in make_lines(2))
    batch = await run_batch(client, [f"\ufeff{first}", "  ", second])
    assert (batch.status, batch.request_counts.completed) == ("completed", 2)


async def test_a_line_that_cannot_be_read_any_more_fails_alone(client, monkeypatch):
    """How deep JSON may be depends on the stack, which is another one when the line is asked."""

    def parse_deep_line(raw):
        if b"line-1" in raw:
            raise LineProblem("invalid_json_line", "It is too deep.")
        return parse_line(raw)

    monkeypatch.setattr(line_runner, "parse_line", parse_deep_line)
    batch = await run_batch(client, make_lines(3))
    counts = batch.request_counts
    assert (batch.status, counts.completed, counts.failed) == ("completed", 2, 1)
    errors = await read_results(client, batch.error_file_id)
    assert [error["error"]["code"] for error in errors.values()] == ["invalid_json_line"]


async def test_a_user_without_room_for_results_makes_no_batch(client, settings):
    file_id = await store_input(client, make_lines(2))
    settings.FILES_BYTES_PER_USER = 1
    with pytest.raises(BadRequestError, match="all the room"):
        await client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
