"""/v1/batches: the lines of a file are answered, and their results are files."""

from api.models.usage_record import BATCH_CLIENT
from api.tests.endpoints.batches.batch_requests import (
    CHAT,
    make_lines,
    read_results,
    run_batch,
)
from proxysite.testing import rows


async def test_ten_lines_are_answered_by_the_upstream(client, upstream):
    batch = await run_batch(client, make_lines(10), metadata={"job": "nightly"})
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 10, "completed": 10, "failed": 0}
    assert batch.metadata == {"job": "nightly"}
    assert batch.error_file_id is None
    results = await read_results(client, batch.output_file_id)
    assert sorted(results) == sorted(f"line-{number}" for number in range(10))
    assert len(upstream.requests) == 10
    result = results["line-3"]
    assert result["error"] is None
    assert result["response"]["status_code"] == 200
    assert result["response"]["body"]["choices"][0]["message"]["content"] == "Hello there!"
    records = await rows.read_usage_records()
    assert [record.client for record in records] == [BATCH_CLIENT] * 10
    assert {record.endpoint for record in records} == {CHAT.removeprefix("/v1/")}
    assert {f"req_{record.pk.hex}" for record in records} == {
        result["response"]["request_id"] for result in results.values()
    }
