"""Batches that end early: cancelled, expired, with a revoked key, or without money."""

from datetime import timedelta

import openai
import pytest
from django.utils import timezone

from api.batches import part_files
from api.batches.batch_endpoints import list_endpoints
from api.batches.lines.line_outcomes import Outcome, classify_answer
from api.batches.lines.line_request import LineSender, answer_line
from api.models import ApiKey, Batch
from api.tests.endpoints.batches.batch_requests import (
    answer_at_gate,
    create_batch,
    make_lines,
    read_results,
    run_batch,
    update_rows,
    wait_for_end,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


async def hold_at_upstream(client, upstream, count=400):
    """Create a batch whose first lines wait at the upstream, and return it."""
    upstream.set_default_script(answer_at_gate)
    batch = await create_batch(client, make_lines(count))
    await upstream.wait_for_request(8)
    return batch


@pytest.mark.settings(BATCH_LINES_AT_ONCE=8)
async def test_a_cancelled_batch_keeps_the_answers_it_has(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    cancelled = await client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    assert cancelled.cancelling_at
    upstream.gate.open()
    batch = await wait_for_end(client, batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelled_at
    asked = len(upstream.requests)
    assert len(await read_results(client, batch.output_file_id)) == asked < 400
    unasked = await read_results(client, batch.error_file_id)
    assert len(unasked) == 400 - asked
    assert {line["error"]["code"] for line in unasked.values()} == {"batch_cancelled"}
    assert {line["response"] for line in unasked.values()} == {None}
    again = await client.batches.cancel(batch.id)  # it is what was wanted
    assert again.status == "cancelled"


async def test_a_cancelled_batch_whose_lines_are_all_answered_is_cancelled(client, upstream):
    batch = await hold_at_upstream(client, upstream, 8)
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    upstream.gate.open()
    batch = await wait_for_end(client, batch.id)
    assert (batch.status, batch.request_counts.completed) == ("cancelled", 8)
    assert batch.error_file_id is None


async def test_a_completed_batch_cannot_be_cancelled(client):
    batch = await run_batch(client, make_lines(1))
    with pytest.raises(openai.BadRequestError) as refused:
        await client.batches.cancel(batch.id)
    assert refused.value.code == "batch_not_cancellable"


async def test_a_batch_expires(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    await update_rows(Batch.objects.all(), expires_at=timezone.now() - timedelta(seconds=1))
    upstream.gate.open()
    batch = await wait_for_end(client, batch.id)
    assert batch.status == "expired"
    assert batch.expired_at
    unasked = await read_results(client, batch.error_file_id)
    assert {line["error"]["code"] for line in unasked.values()} == {"batch_expired"}
    answered = await read_results(client, batch.output_file_id)
    assert len(unasked) + len(answered) == 400
    assert batch.request_counts.completed == len(answered)
    assert batch.request_counts.failed == len(unasked)


async def test_a_revoked_key_stops_its_batch(client, upstream, gateway, alice, operator):
    batch = await hold_at_upstream(client, upstream, 200)
    other = await run_in_thread(rows.create_person, "alice")
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).revoke)
    await gateway.reload_rows()
    upstream.gate.open()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=other.key) as client:
        batch = await wait_for_end(client, batch.id)
        assert batch.status == "failed"
        (error,) = batch.errors.data
        assert error.code == "invalid_api_key"
        answered = await read_results(client, batch.output_file_id)
        unasked = await read_results(client, batch.error_file_id)
    assert len(answered) + len(unasked) == 200
    assert unasked


async def test_what_is_left_of_a_batch_is_its_files(client):
    batch = await run_batch(client, make_lines(3))
    assert not part_files.find_batches_folder().joinpath(batch.id).exists()
    file = await client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert file.expires_at


async def test_a_batch_goes_on_when_its_input_file_is_deleted(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    await client.files.delete(batch.input_file_id)
    upstream.gate.open()
    batch = await wait_for_end(client, batch.id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 400)


async def test_the_files_of_a_batch_end_with_its_row(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    folder = part_files.find_batches_folder() / batch.id
    assert folder.exists()
    await run_in_thread(Batch.objects.all().delete)
    assert not folder.exists()
    upstream.gate.open()


@pytest.mark.parametrize("endpoint", list_endpoints())
async def test_a_key_that_has_ended_is_noticed_at_every_endpoint(gateway, endpoint):
    """Errors of /v1/messages have another form, without a code."""
    answer = await answer_line(gateway.inner, LineSender(endpoint, "0" * 64, ""), b"{}")
    assert classify_answer(answer) is Outcome.NO_KEY
