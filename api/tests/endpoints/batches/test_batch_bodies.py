"""What creates a batch, and who sees it."""

import openai
import pytest

from api.tests.endpoints.batches.batch_requests import (
    CHAT,
    answer_at_gate,
    create_batch,
    make_lines,
    run_batch,
    store_input,
)

UNKNOWN_FILE = f"file-{'0' * 32}"


async def refuse(client, **changes):
    """Return the error of a batch that is not made."""
    body = {"input_file_id": UNKNOWN_FILE, "endpoint": CHAT, "completion_window": "24h"}
    with pytest.raises(openai.APIStatusError) as refused:
        await client.batches.create(**body | changes)
    return refused.value


async def test_a_body_that_names_no_batch_is_refused_with_its_field(client):
    file_id = await store_input(client, make_lines(1))
    for changes, param, code in (
        ({}, "input_file_id", "file_not_found"),
        ({"endpoint": "/v1/files"}, "endpoint", "invalid_value"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"extra_body": {"metadata": 5}}, "metadata", "invalid_type"),
        ({"extra_body": {"priority": 1}}, "priority", "unknown_parameter"),
        (
            {"input_file_id": file_id, "output_expires_after": {"anchor": "x", "seconds": 3_600}},
            "output_expires_after.anchor",
            "invalid_value",
        ),
        (
            {
                "input_file_id": file_id,
                "output_expires_after": {"anchor": "created_at", "seconds": 1},
            },
            "output_expires_after.seconds",
            "invalid_value",
        ),
    ):
        error = await refuse(client, **changes)
        assert (error.status_code, error.param, error.code) == (400, param, code)


async def test_the_input_is_a_file_for_batches(client):
    file = await client.files.create(file=("a.jsonl", b"{}\n"), purpose="user_data")
    error = await refuse(client, input_file_id=file.id)
    assert error.code == "invalid_purpose"
    with pytest.raises(openai.BadRequestError):  # such files come from batches alone
        await client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch_output")


async def test_nobody_sees_the_batches_of_others(client, gateway, mallory):
    batch = await run_batch(client, make_lines(1))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=mallory.key) as other:
        assert (await other.batches.list()).data == []
        for call in (other.batches.retrieve, other.batches.cancel):
            with pytest.raises(openai.NotFoundError) as refused:
                await call(batch.id)
            assert refused.value.code == "batch_not_found"
        with pytest.raises(openai.NotFoundError):
            await other.files.content(batch.output_file_id)
        assert (await refuse(other, input_file_id=batch.input_file_id)).code == "file_not_found"


async def test_batches_are_listed_page_by_page(client):
    made = [(await run_batch(client, make_lines(1))).id for _number in range(3)]
    page = await client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == made[:0:-1]
    assert page.has_more
    assert [batch.id async for batch in client.batches.list(limit=1)] == made[::-1]


@pytest.mark.settings(BATCHES_PER_USER=1)
async def test_a_user_has_so_many_unfinished_batches(client, upstream):
    upstream.set_default_script(answer_at_gate)
    batch = await create_batch(client, make_lines(1))
    file_id = await store_input(client, make_lines(1))
    error = await refuse(client.with_options(max_retries=0), input_file_id=file_id)
    assert (error.status_code, error.code) == (429, "too_many_batches")
    await client.batches.cancel(batch.id)
    upstream.gate.open()
