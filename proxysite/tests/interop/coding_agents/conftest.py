"""A gateway with two scripted upstreams behind it, one of chat completions and one of Anthropic's
dialect, for coding agents as they come.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from proxysite.testing.upstream_server import Upstream
from proxysite.tests.processes import Gateway

CLAUDE_MODEL = "claude-opus-5-5"  # of the upstream that speaks Anthropic's dialect
KNOWN_MODEL = "gpt-5.5"  # Codex and Copilot offer it their custom tool `apply_patch`


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Upstream]:
    running = Upstream()
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anthropic_server() -> AsyncIterator[Upstream]:
    running = Upstream()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
def gateway(
    server: Upstream, anthropic_server: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    models = (f"{KNOWN_MODEL}=upstream-model", "unknown=upstream-model")
    running.provide("fake", server.url, *models, tokens=["sk-up-1"])
    url = anthropic_server.url
    running.provide("claude", url, CLAUDE_MODEL, tokens=["sk-ant-1"], kind="anthropic")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(gateway: Gateway) -> str:
    return gateway.issue_key("alice")


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    yield from check_afterwards(server)


@pytest.fixture
def anthropic_upstream(anthropic_server: Upstream) -> Iterator[Upstream]:
    yield from check_afterwards(anthropic_server)


def check_afterwards(server: Upstream) -> Iterator[Upstream]:
    """Yield an upstream that has seen nothing yet, and check that all its scripts were played."""
    server.exchanges.clear()
    yield server
    assert not server.failures, server.failures
    assert not server._scripts, "scripts that nobody asked for"
