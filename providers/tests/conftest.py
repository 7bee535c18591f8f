"""The cast: an adapter of each of Kimi's two interfaces, and a client for calls."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers.network.api_client import ApiClient
from providers.tests.kimi_asking import KINDS, Asking, asking_of


@pytest.fixture(params=KINDS)
async def asking(request: pytest.FixtureRequest, upstream: Any) -> AsyncIterator[Asking]:
    async with asking_of(request.param, upstream) as found:
        yield found


@pytest.fixture
async def web(upstream: Any) -> AsyncIterator[Asking]:
    async with asking_of("kimi_web", upstream) as found:
        yield found


@pytest.fixture
async def rest(upstream: Any) -> AsyncIterator[Asking]:
    async with asking_of("kimi_rest", upstream) as found:
        yield found


@pytest.fixture
async def api() -> AsyncIterator[ApiClient]:
    client = ApiClient()
    yield client
    await client.close()
