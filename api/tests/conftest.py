import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.accounting import ledger
from api.tests.accounting.test_ledger import Kept


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger tries a database that is away again without a pause."""
    monkeypatch.setattr(ledger, "RETRY_SECONDS", 0.005)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """A ledger at work in a directory of its own."""
    found = Kept(tmp_path)
    task = asyncio.create_task(found.ledger.write_until_cancelled())
    yield found
    assert not task.done(), "the writing task has died"
    task.cancel()
    await asyncio.wait([task])
