"""The page of the API in a real browser: for everybody, without a login."""

import pytest

from proxysite.testing import browser

pytestmark = browser.MARKS


@pytest.mark.parametrize("size", [browser.DESKTOP, browser.PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_the_api_is_described_to_everybody(browse, size, colours):
    page = browse.page
    await page.set_viewport_size(size)
    await page.emulate_media(color_scheme=colours)
    await browse.open("/api/docs/")
    await page.fill("#docs-filter", "embeddings")
    assert await page.locator("#docs-list li:not([hidden])").count() == 1
    await page.click("#docs-list li:not([hidden]) a")
    await page.click("#post_v1_embeddings summary >> text=Fields of the body")
    await browse.check(f"docs-{size['width']}-{colours}")
    assert await page.locator("#post_v1_embeddings td:has-text('encoding_format')").is_visible()
    await browse.check_accessibility()
