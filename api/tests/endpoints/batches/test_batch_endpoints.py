"""Batches of every endpoint, and of many lines."""

import pytest

from api.batches.batch_endpoints import list_endpoints
from api.tests.endpoints.batches.batch_requests import (
    make_line,
    read_results,
    run_batch,
)
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi", "store": False},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10},
}


async def test_lines_of_every_endpoint_are_answered(client, gateway, provider):
    for endpoint in list_endpoints():
        batch = await run_batch(client, [make_line("a", endpoint, **BODIES[endpoint])], endpoint)
        results = await read_results(client, batch.output_file_id or batch.error_file_id)
        assert results["a"]["response"]["status_code"] == 200, results
        assert batch.model == "m"
    assert set(list_endpoints()) >= set(list(BODIES)[:4])


@pytest.mark.settings(BATCH_LINES_AT_ONCE=64)
async def test_five_thousand_lines_are_answered_once_each(client, gateway):
    def add_echo():
        echo = Provider.objects.create(name="echo", kind="echo", needs_token=False)
        rows.create_model(echo, "echo", "echo")

    await run_in_thread(add_echo)
    await gateway.reload_rows()
    lines = [make_line(f"line-{number}", model="echo") for number in range(5_000)]
    batch = await run_batch(client, lines, seconds=300)
    assert batch.request_counts.model_dump() == {"total": 5_000, "completed": 5_000, "failed": 0}
    assert len(await read_results(client, batch.output_file_id)) == 5_000
