"""A provider of Anthropic's kind, whose model `m` is a Claude model."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import anthropic_speech, rows


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return a provider of Anthropic's kind; the upstream answers like Anthropic."""

    def make():
        row = rows.create_provider(upstream.url, models=(), kind="anthropic")
        rows.create_model(row, "m", "claude-opus-4-8")
        rows.create_model(row, "m-old", "claude-sonnet-4-5")
        rows.create_model(row, "m-cached", "claude-opus-4-8", options={"cache_control": "auto"})
        rows.create_model(row, "m-hidden", "claude-opus-4-8", thinking="hidden")
        rows.create_model(row, "m-texts", "claude-opus-4-8", capabilities=["chat", "tools"])
        return row

    upstream.set_default_script(anthropic_speech.answer_message())
    return await run_in_thread(make)
