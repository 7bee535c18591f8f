"""A provider of Moonshot's kind, with models that search and that take files."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return a provider of Moonshot's kind; `m-search` searches, `m-files` takes files."""

    def make():
        row = rows.create_provider(upstream.url, models=(), kind="moonshot")
        rows.create_model(row, "m")
        rows.create_model(row, "m-search", search="on")
        rows.create_model(row, "m-files", capabilities=["chat", "files"])
        return row

    return await run_in_thread(make)
