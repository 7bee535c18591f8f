"""A provider of Gemini's kind, whose models think by level, by budget, or not at all."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return a provider of Gemini's kind; `m` is a model of Gemini 3, `m25` of 2.5, `m20` of 2."""

    def make():
        row = rows.create_provider(upstream.url, models=(), kind="gemini")
        rows.create_model(row, "m", "gemini-3-flash")
        rows.create_model(row, "m25", "gemini-2.5-flash")
        rows.create_model(row, "m20", "gemini-2.0-flash")
        return row

    return await run_in_thread(make)
