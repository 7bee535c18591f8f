"""Kimi's two web interfaces: each test runs with both."""

import pytest

from api.tests.endpoints.kimi.kimi_provider import create_kimi_provider
from providers.database.database_threads import run_in_thread
from providers.tests.kimi_site import Site, jwt
from proxysite.testing import rows


@pytest.fixture(params=["kimi_web", "kimi_rest"])
def kind(request):
    """Return the kind of the provider."""
    return request.param


@pytest.fixture
async def provider(upstream, transactional_db, kind):
    """Return a provider with the model `m`."""
    return await run_in_thread(create_kimi_provider, upstream.url, kind)


@pytest.fixture
async def token(provider):
    """Return the first of two tokens of the provider."""
    first, _ = await run_in_thread(rows.create_tokens, provider, jwt("june"), jwt("july"))
    return first


@pytest.fixture
async def site(upstream, kind):
    """Return the site that the upstream plays."""
    played = Site(kind)
    upstream.set_default_script(played)
    return played
