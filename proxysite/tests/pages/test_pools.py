"""The pages of providers, models and tokens in a real browser, on a desktop and a phone."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import browser
from proxysite.testing.browser import DESKTOP, PHONE
from tokens.dialect_probe import connection_test
from tokens.models import BreakerState, UpstreamToken
from tokens.outcomes.breaker_sharing import BreakerChange, write_breaker_changes
from tokens.tests.dialect_probe.characters import plain_local

pytestmark = browser.MARKS
PAGES = (
    "/admin/providers/provider/",
    "/admin/providers/provider/add/",
    "/admin/providers/provider/add/?preset=openrouter",
    "/admin/providers/chatmodel/",
    "/admin/tokens/upstreamtoken/?is=usable&check=never",
    "/admin/routing/?model=m",
)


@pytest.mark.parametrize("browse", [DESKTOP, PHONE], indirect=True)
async def test_every_page_fits_and_is_accessible(browse, operator, provider, token):
    await browse.sign_in("operator")
    await run_in_thread(
        UpstreamToken.objects.update, strikes=2, label="of June", reason="auth: " + "long " * 30
    )
    for page in (
        *PAGES,
        f"/admin/providers/provider/{provider.pk}/change/",
        f"/admin/providers/provider/{provider.pk}/test/",
        f"/admin/providers/provider/{provider.pk}/sync/",
        f"/admin/tokens/upstreamtoken/{token.pk}/change/",
        f"/admin/tokens/upstreamtoken/{token.pk}/move/",
    ):
        await browse.open(page)
        await browse.check_accessibility()


async def test_a_preset_is_found_and_fills_the_form(browse, operator):
    await browse.sign_in("operator")
    page = await browse.open("/admin/providers/provider/add/")
    await page.fill("#preset-filter", "groq")
    assert await page.locator(".preset-cards li:not([hidden])").count() == 1
    await page.click("a:has-text('Groq')")
    assert await page.input_value("#id_base_url") == "https://api.groq.com/openai/v1"
    await page.click("[name=_save]")
    await page.wait_for_selector("text=groq was added")
    await browse.check("added")
    assert await run_in_thread(Provider.objects.filter(name="groq").exists)


async def test_a_connection_is_tested_and_models_are_synced(
    browse, operator, upstream, provider, token, monkeypatch
):
    monkeypatch.setattr(connection_test, "DIALECT_PROBES", {})
    upstream.set_default_script(plain_local)
    await browse.sign_in("operator")
    page = await browse.open(f"/admin/providers/provider/{provider.pk}/change/")
    await page.click("button:has-text('Test connection')")
    await page.wait_for_selector(".steps li:has-text('Stream')")
    await browse.check("tested")
    await browse.check_accessibility()
    await page.goto(f"{browse.url}/admin/providers/provider/{provider.pk}/change/")
    await page.click("button:has-text('Sync models')")
    await page.check("[data-toggle-all=new]")
    await page.click("text=Write what is ticked")
    await page.wait_for_selector("text=written.")
    await browse.check("synced")
    await browse.check_accessibility()


async def test_a_breaker_is_closed_by_the_button_of_its_provider(
    browse, operator, provider, token, gateway
):
    change = BreakerChange(provider.pk, 60.0, None, "failed", "overloaded", ())
    await run_in_thread(write_breaker_changes, [change])
    await run_in_thread(BreakerState.objects.update, process="another")
    await gateway.reload_rows()
    assert gateway.blocked_seconds() is not None
    await browse.sign_in("operator")
    page = await browse.open(f"/admin/providers/provider/{provider.pk}/change/")
    await page.click("button:has-text('Ask again now')")
    await page.wait_for_selector("text=asked as usual")
    await browse.check("asked again")
    await gateway.reload_rows()
    assert gateway.blocked_seconds() is None
