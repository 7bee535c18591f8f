"""The client with a server of the official Python package, a process of its own on a loopback port.

Skipped where neither this Python nor the one in MCP_PYTHON has the package.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys

import pytest

from providers.exceptions import UpstreamTimeout
from providers.mcp.mcp_client import McpAddress, McpClient, ServerHabits
from providers.network.clients import Clients
from proxysite.testing import PATIENCE_SECONDS

PYTHON = os.environ.get("MCP_PYTHON", sys.executable)
SERVER = """
import asyncio, sys
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
server = MCPServer("demo")

@server.tool()
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b

@server.tool()
def fail() -> str:
    raise ValueError("no luck")

@server.tool()
async def sleep() -> str:
    await asyncio.sleep(60)
    return ""

server.run("streamable-http", port=int(sys.argv[1]))
"""


def has_package():
    command = [PYTHON, "-c", "import mcp.server"]
    return (
        bool(shutil.which(PYTHON)) and not subprocess.run(command, capture_output=True).returncode
    )


@pytest.fixture(scope="module")
def url():
    """Yield the address of a server that runs as long as the module's tests."""
    if not has_package():
        pytest.skip("the package mcp is not installed")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [PYTHON, "-c", SERVER, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield f"http://127.0.0.1:{port}/mcp"
    process.terminate()
    process.wait(PATIENCE_SECONDS)


@pytest.fixture
async def clients(url):
    """Yield the HTTP clients, when the server listens."""
    port = int(url.split(":")[2].partition("/")[0])
    async with asyncio.timeout(6 * PATIENCE_SECONDS):  # the package takes seconds to import
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
    async with Clients() as opened:
        yield opened


@pytest.mark.parametrize("keeps_sessions", [None, True], ids=["found out", "in a session"])
async def test_the_official_server_lists_its_tools_and_runs_them(clients, url, keeps_sessions):
    habits = ServerHabits(keeps_sessions)
    client = McpClient(clients.api, McpAddress(url, allow_private=True), habits)
    tools = await client.list_tools()
    assert [tool.name for tool in tools] == ["add", "fail", "sleep"]
    assert tools[0].input_schema["required"] == ["a", "b"]
    results = await asyncio.gather(
        *(client.call_tool("add", {"a": number, "b": 1}) for number in range(5))
    )
    assert [result.text for result in results] == ["1", "2", "3", "4", "5"]
    failed = await client.call_tool("fail", {})
    assert failed.is_error
    assert "no luck" in failed.text or "Error" in failed.text
    client.limit_time(0.3)
    with pytest.raises(UpstreamTimeout):
        await client.call_tool("sleep", {})
    await client.close()


async def test_a_session_that_the_server_has_forgotten_is_begun_again(clients, url):
    client = McpClient(clients.api, McpAddress(url, allow_private=True), ServerHabits(True))
    await client.list_tools()
    client._session_id = "0" * 32
    result = await client.call_tool("add", {"a": 1, "b": 1})
    assert result.text == "2"
    await client.close()
