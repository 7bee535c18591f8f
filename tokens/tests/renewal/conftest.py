"""A site whose tokens expire, and the gateway with a token of it."""

import pytest

from providers import registry
from providers.database.database_threads import run_in_thread
from tokens.models import UpstreamToken
from tokens.tests.renewal.renewal_cast import refresh_row
from tokens.tests.site import Renewing, Site


@pytest.fixture
async def site(upstream, monkeypatch):
    found = Site()
    upstream.set_default_script(found)
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: Renewing)
    return found


@pytest.fixture
async def gateway(site, gateway):
    """Made when the site's adapter is there."""
    return gateway


@pytest.fixture
async def row(site, gateway, token, provider):
    """The provider's only token, which has never been renewed."""

    def make():
        UpstreamToken.objects.all().delete()
        return refresh_row(provider)

    found = await run_in_thread(make)
    await gateway.reload_rows()
    return found
