"""The preset's provider, whose site is the loopback server, and the gateway for guests."""

import pytest

from api.tests.endpoints.k2think.k2think_site import site_api
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from providers.seed_presets import create_preset_rows
from proxysite.testing import rows


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return the preset's row, with the loopback server in the site's place."""

    def make() -> Provider:
        row, _ = create_preset_rows("k2think-web")
        rows.move_providers(row, base_url=site_api(upstream), name="fake", allow_private=True)
        return row

    return await run_in_thread(make)


@pytest.fixture
async def guest_gateway(gateway, provider):
    """Return the gateway, with the provider switched to guests."""
    await run_in_thread(Provider.objects.filter(pk=provider.pk).update, mode="guest")
    await gateway.reload_rows()
    return gateway
