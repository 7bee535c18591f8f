"""An upstream without tool calling, and OpenAI's own client."""

import httpx
import openai
import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.gateway import NO_TLS


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return a provider whose models cannot call tools."""
    return await run_in_thread(lambda: rows.create_provider(upstream.url, native_tools=False))


@pytest.fixture
async def client(gateway, alice):
    """Yield OpenAI's own client."""
    http = httpx.AsyncClient(trust_env=False, verify=NO_TLS)
    async with openai.AsyncOpenAI(
        api_key=alice.key, base_url=f"{gateway.url}/v1", http_client=http, max_retries=0
    ) as one:
        yield one
