"""An MCP server on the list, an upstream whose model calls tools, and OpenAI's own client."""

import openai
import pytest

from providers.database.database_threads import run_in_thread
from providers.models import McpServer
from proxysite.testing.mcp_scripts import McpScript
from proxysite.testing.upstream import send_reply
from proxysite.testing.upstream_server import Upstream

RESULTS = [
    {"title": "Graz", "url": "https://en.example.org/wiki/Graz", "content": "A city."},
    {"title": "Mur", "url": "https://rivers.example.com/mur", "content": "A river."},
]


def create_server(url, label="math", **fields):
    values = {"allow_private": True, "for_everybody": True} | fields
    headers = values.pop("headers", {})
    server = McpServer(label=label, url=url, **values)
    server.seal_headers(headers)
    server.save()
    return server


@pytest.fixture
def mcp_script():
    return McpScript()


@pytest.fixture
async def mcp_upstream(mcp_script):
    """Yield the MCP server's socket."""
    server = Upstream()
    server.set_default_script(mcp_script.play)
    await server.start()
    yield server
    await server.stop()
    assert not server.failures


@pytest.fixture
async def math(mcp_upstream, transactional_db):
    """Return the row of the MCP server, which everybody may use."""
    return await run_in_thread(
        create_server, f"http://127.0.0.1:{mcp_upstream.port}/mcp", headers={"X-Team": "red"}
    )


@pytest.fixture
async def client(gateway, alice):
    """Yield OpenAI's own client with Alice's key."""
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as opened:
        yield opened


@pytest.fixture
async def search_backend(settings):
    """Yield the socket of a search backend that finds two pages."""
    server = Upstream()
    server.set_default_script(send_reply({"results": RESULTS, "unresponsive_engines": []}))
    await server.start()
    settings.SEARCH_BACKEND = "searxng"
    settings.SEARCH_URL = f"http://127.0.0.1:{server.port}"
    settings.SEARCH_ALLOW_PRIVATE = True
    yield server
    await server.stop()


async def read_events(client, **body):
    """Return the events of a streamed response."""
    async with await client.responses.create(stream=True, **body) as stream:
        return [event async for event in stream]
