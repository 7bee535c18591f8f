"""The real provider and token of `gateway`, which the dashboard's tests have replaced."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


@pytest.fixture
async def provider(upstream, transactional_db):
    return await run_in_thread(rows.create_provider, upstream.url)


@pytest.fixture
async def token(provider):
    (row,) = await run_in_thread(rows.create_tokens, provider, "sk-up-1")
    return row
