"""Runs of a batch: one after the other, never two at a time, and none too many."""

from datetime import timedelta

import openai
from django.utils import timezone

from api import keys
from api.batches import batch_cleanup, batch_states, finish_batch, part_files
from api.batches.batch_states import RunId
from api.key_rights.key_rotation import rotate_key
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
from proxysite.testing import rows, wait_until_true


async def hold_at_upstream(client, upstream, count=20):
    upstream.set_default_script(answer_at_gate)
    batch = await create_batch(client, make_lines(count))
    await upstream.wait_for_request(8)
    return batch


async def test_a_process_that_was_believed_dead_writes_no_more_to_the_batch(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    await update_rows(Batch.objects.all(), running_until=None, run_number=7)  # another took it
    upstream.gate.open()
    batch = await wait_for_end(client, batch.id)  # the run after the seventh
    assert (batch.status, batch.request_counts.completed) == ("completed", 20)
    assert len(await read_results(client, batch.output_file_id)) == 20
    row = await run_in_thread(Batch.objects.get)
    assert row.run_number == 8


async def test_a_batch_that_was_being_ended_is_ended_again(client, upstream, monkeypatch):
    finish = finish_batch.write_end
    failures = []

    def fail_once(*args):
        if not failures:
            failures.append(args)
            raise OSError("the disk is full")
        return finish(*args)

    monkeypatch.setattr("api.batches.finish_batch.write_end", fail_once)
    monkeypatch.setattr("api.batches.batch_run.logger.error", lambda *args: None)
    batch = await create_batch(client, make_lines(3))

    async def end_lease():
        await update_rows(Batch.objects.filter(status="finalizing"), running_until=None)
        return failures and (await client.batches.retrieve(batch.id)).status == "completed"

    await wait_until_true(end_lease)
    batch = await client.batches.retrieve(batch.id)
    assert batch.request_counts.completed == 3
    assert len(await read_results(client, batch.output_file_id)) == 3
    assert len(upstream.requests) == 3


async def test_a_batch_goes_on_with_the_new_secret_of_its_key(client, upstream, gateway, alice):
    batch = await hold_at_upstream(client, upstream, 40)
    _old, secret = await run_in_thread(rotate_key, alice.row, timedelta())
    await gateway.reload_rows()
    upstream.gate.open()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret) as client:
        batch = await wait_for_end(client, batch.id)
    assert batch.request_counts.completed == 40
    records = await rows.read_usage_records()
    assert {record.key_id for record in records} == {alice.row.pk}


async def test_a_batch_ends_with_its_key(client, upstream, gateway, alice):
    batch = await hold_at_upstream(client, upstream)
    other = await run_in_thread(rows.create_person, "alice")
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).delete)
    await gateway.reload_rows()
    upstream.gate.open()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=other.key) as client:
        batch = await wait_for_end(client, batch.id)
    assert batch.status == "failed"
    assert batch.errors.data[0].code == "invalid_api_key"


async def test_a_key_that_stores_nothing_makes_no_batch(client, gateway, alice):
    batch = await run_batch(client, make_lines(1))
    _row, key = await run_in_thread(keys.create_key, alice.user, stores_content=False)
    body = {
        "input_file_id": batch.input_file_id,
        "endpoint": batch.endpoint,
        "completion_window": "24h",
    }
    answer = await gateway.send_request("POST", "/v1/batches", key, json=body)
    assert (answer.status, answer.error["code"]) == (403, "storage_disabled")


async def test_old_batches_are_deleted_and_their_files_stay(client):
    batch = await run_batch(client, make_lines(1))
    orphan = part_files.find_folder(f"batch_{'0' * 32}")
    long_ago = timezone.now() - timedelta(days=91)
    await update_rows(Batch.objects.all(), created_at=long_ago)
    assert await run_in_thread(batch_cleanup.delete_old_batches) == 1
    assert orphan.exists()  # it may be that of a batch whose row is about to be written
    part_files.delete_parts(orphan.name)
    assert len(await read_results(client, batch.output_file_id)) == 1


async def test_only_the_latest_run_writes_to_a_batch(client, upstream):
    batch = await hold_at_upstream(client, upstream)
    run = RunId(batch.id, 99)
    assert await run_in_thread(batch_states.report_batch, run, None) is None
    assert not await run_in_thread(batch_states.mark_finalizing, run)
    assert await run_in_thread(batch_states.claim_batches, 5) == []
    await client.batches.cancel(batch.id)
    upstream.gate.open()
