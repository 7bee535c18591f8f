"""Batches run in the gateway of the test, which looks for them often."""

import pytest
from openai import AsyncOpenAI


@pytest.fixture(autouse=True)
def _frequent_looks(monkeypatch):
    """Let the gateway run batches itself, on Postgres too, and look for them often."""
    for module in ("api.relay.gateway", "api.batches.create_batch"):
        monkeypatch.setattr(f"{module}.runs_beside_callers", lambda: True)
    monkeypatch.setattr("api.batches.batch_runner.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("api.batches.batch_run.REPORT_SECONDS", 0.02)
    monkeypatch.setattr("api.batches.lines.pacing.LEAST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("api.batches.lines.pacing.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("api.batches.lines.line_runner.RETRY_SECONDS", 0.02)


@pytest.fixture
async def client(gateway, alice):
    """Yield OpenAI's own client, with Alice's key."""
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=alice.key) as client:
        yield client
