"""A site whose tokens expire, and the gateway with a token of it."""

from datetime import UTC, datetime

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from tokens.models import UpstreamToken
from tokens.tests.renewal.renewal_cast import SOON, add_account, refresh_row
from tokens.tests.site import open_site


@pytest.fixture
async def site(upstream, monkeypatch):
    return open_site(upstream, monkeypatch)


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


@pytest.fixture
async def pair(site, provider):
    """Two tokens that can be renewed; there are a third that cannot, and an account that has not
    signed in.
    """
    site.refresh = {"refresh-a", "refresh-b"}

    def make():
        add_account(provider)
        rows.create_tokens(provider, "sk-key")
        return [
            refresh_row(provider, name, "old", expires_at=datetime.now(UTC) + SOON)
            for name in ("refresh-a", "refresh-b")
        ]

    return await run_in_thread(make)
