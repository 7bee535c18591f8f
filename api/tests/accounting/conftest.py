"""A ledger at work, and the writer of the configured database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.accounting import ledger, writers
from api.tests.accounting.ledger_harness import LedgerHarness


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger tries a database that is away again without a pause."""
    monkeypatch.setattr(ledger, "RETRY_SECONDS", 0.005)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[LedgerHarness]:
    """A ledger at work in a directory of its own."""
    running = LedgerHarness(tmp_path)
    task = asyncio.create_task(running.ledger.write_until_cancelled())
    yield running
    assert not task.done(), "the writing task has died"
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def writer() -> Any:
    writer_in_use = writers.make_writer()
    yield writer_in_use
    await asyncio.wait_for(writer_in_use.close(), 2)
