"""Import, undo and export of tokens in a real browser, on a desktop and a phone."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import browser
from proxysite.testing.browser import DESKTOP, PHONE
from tokens.imports.batch_model import ImportBatch
from tokens.models import UpstreamToken

pytestmark = browser.MARKS
KEYS = [f"sk-pasted-{number:04}-0123456789" for number in range(120)]
TEXT = "\n".join(
    [
        *KEYS,
        "# of June",
        KEYS[0],
        "two words",
        "=1+1",
        '{"key": "sk-x-0123456789", "base_url": "https://other.example/v1"}',
    ]
)


@pytest.mark.parametrize("browse", [DESKTOP, PHONE], indirect=True)
async def test_a_pasted_list_is_checked_imported_and_undone(browse, operator, provider, token):
    await browse.sign_in("operator")
    page = browse.page
    await browse.open("/admin/tokens/upstreamtoken/import/")
    await browse.check("import-form")
    await browse.check_accessibility()
    await page.select_option("#import-provider", label=provider.name)
    await page.fill("#import-text", TEXT)
    await page.click("text=Check the lines")
    await page.wait_for_selector("text=Nothing is imported yet. 120 tokens are new.")
    await browse.check("import-checked")
    await browse.check_accessibility()
    await page.click(".tabs a:has-text('malformed')")
    await page.wait_for_selector("text=has a space inside")
    await browse.check("import-malformed")
    await page.click("button:has-text('Import 120 tokens')")
    await page.wait_for_selector("text=120 tokens were imported.")
    await browse.check("import-done")
    await page.reload()
    assert await run_in_thread(UpstreamToken.objects.count) == 121
    used = await run_in_thread(UpstreamToken.objects.filter(masked="sk-pas…6789").first)
    await run_in_thread(UpstreamToken.objects.filter(pk=used.pk).update, requests=7)
    await page.click("text=Undo the import")
    await page.wait_for_selector("text=1 of its tokens was used already")
    await browse.check("import-undo")
    await browse.check_accessibility()
    await page.click("button:has-text('Undo the import')")
    await page.wait_for_selector("text=119 tokens were deleted. 1 used token was kept.")
    await browse.check("import-undone")


async def test_a_file_is_imported_by_the_worker_while_its_page_follows(
    browse, operator, provider, settings, tmp_path
):
    settings.IMPORT_INLINE_LINES = 10
    file = tmp_path / "keys.txt"
    file.write_text(TEXT)
    await browse.sign_in("operator")
    page = browse.page
    await browse.open(f"/admin/tokens/upstreamtoken/import/?provider={provider.pk}")
    await page.set_input_files("#import-file", file)
    await page.click("text=Check the lines")
    await page.wait_for_selector("progress")
    await browse.check("import-working")
    await browse.check_accessibility()
    batch = await run_in_thread(ImportBatch.objects.get)
    from tokens import tasks

    await run_in_thread(tasks.work_at_import, str(batch.pk))
    await page.wait_for_selector("text=120 tokens are new.")
    await browse.check("import-worked")


@pytest.mark.parametrize("browse", [DESKTOP, PHONE], indirect=True)
async def test_an_export_asks_for_the_password_and_is_a_file(browse, operator, provider, token):
    await browse.sign_in("operator")
    page = browse.page
    await browse.open("/admin/tokens/upstreamtoken/export/")
    await page.wait_for_selector("#confirm-password")
    await browse.check("export-password")
    await browse.check_accessibility()
    await page.fill("#confirm-password", "operator")
    await page.click("button:has-text('Continue')")
    await page.wait_for_selector("#export-passphrase")
    await browse.check("export-form")
    await browse.check_accessibility()
    await page.check("#form-lines")
    assert not await page.is_visible("#export-passphrase")
    async with page.expect_download() as started:
        await page.click("button:has-text('Export')")
    download = await started.value
    assert download.suggested_filename.endswith(".txt")
    assert (await download.path()).read_text() == "sk-up-1\n"
    await browse.check("export-done")
