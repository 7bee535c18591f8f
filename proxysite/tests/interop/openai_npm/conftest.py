"""The official `openai` package of npm, unmodified, against a real gateway with a scripted upstream
behind it.

`npm/cases.mjs` does what a program would do and prints what it saw.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from proxysite.testing.upstream_server import Upstream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import PATIENCE_SECONDS, Gateway, npm_packages, surroundings


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_packages()


@pytest.fixture(scope="module")
def gateway(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Upstream]:
    running = Upstream()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    """The scripted upstream, with what only this test asks of it."""
    server.exchanges.clear()
    yield server
    assert not server.failures, server.failures
    assert not server._scripts, "scripts that nobody asked for"


@pytest.fixture(scope="module")
def node(packages: Path, gateway: Gateway, server: Upstream) -> Iterator[Cases]:
    """The package, as alice. There are the models `m`, `limited` and `slow` (each with a token of
    its own), and `nowhere`, whose provider cannot be reached.
    """
    gateway.provide("fake", server.url, "m=upstream-model", tokens=["sk-up-1"])
    gateway.provide("fake-limited", server.url, "limited=upstream-model", tokens=["sk-up-2"])
    gateway.provide("fake-slow", server.url, "slow=upstream-model", tokens=["sk-up-4"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        gateway.provide("nowhere", nowhere, "nowhere=m", tokens=["sk-up-3"])
        env = surroundings(BASE_URL=f"{gateway.url}/v1", API_KEY=gateway.issue_key("alice"))
        yield Cases(("node", "cases.mjs"), packages, env)


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def _in_force(node: Cases) -> None:
    """Rows made beside a running gateway are in force within a second."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for model in ("m", "limited", "slow", "nowhere"):
            while (await node("error", {"model": model})).get("code") in (
                "model_not_found",
                "no_available_token",
            ):
                pass
