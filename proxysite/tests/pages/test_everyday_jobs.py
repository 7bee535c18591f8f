"""The fifteen everyday jobs of an operator, each by somebody who has read nothing.

Each begins at the overview and goes only by what can be seen: links, buttons, labels and the quick
search. None takes more than six clicks. A choice in a list, the choice of a file and Enter count
as clicks, too. `JOBS=file` appends the clicks and seconds of each job to a file. The fixture
`stranger` logs in and counts.
"""

import asyncio
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from api.models import ApiKey, LimitSet, Price
from conversations.models import Conversation, Item
from conversations.tests.answered_turns import create_conversation, create_item
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import browser, rows, wait_until_true
from proxysite.testing.upstream import send_refusal
from tokens.dialect_probe import connection_test
from tokens.models import State, UpstreamToken
from tokens.tests.dialect_probe.characters import plain_local

pytestmark = browser.MARKS
BOTH_WIDTHS = pytest.mark.parametrize(
    "browse", [browser.DESKTOP, browser.PHONE], indirect=True, ids=["desktop", "phone"]
)
SECRETS = [f"sk-everyday-{number:04}-0123456789" for number in range(200)]


def disable_token(token: UpstreamToken) -> None:
    UpstreamToken.objects.filter(pk=token.pk).add_strike(1, "auth: Incorrect API key provided")


# --- providers ------------------------------------------------------------------------------------
@BOTH_WIDTHS
async def test_a_provider_is_added_from_a_preset(stranger):
    await stranger.follow("Providers")
    await stranger.follow("Add provider")
    await stranger.follow("Groq")
    await stranger.press("Save")
    await stranger.see("groq was added")
    row = await run_in_thread(Provider.objects.get, name="groq")
    assert row.base_url == "https://api.groq.com/openai/v1"


async def test_the_connection_of_a_provider_is_tested(stranger, upstream, token, monkeypatch):
    monkeypatch.setattr(connection_test, "DIALECT_PROBES", {})
    upstream.set_default_script(plain_local)
    await stranger.follow("Providers")
    await stranger.follow("fake")
    await stranger.press("Test connection")
    await stranger.see("Stream")
    assert any(one.request.path.endswith("/models") for one in upstream.exchanges)


# --- tokens ---------------------------------------------------------------------------------------
async def test_two_hundred_tokens_are_pasted(stranger):
    await stranger.follow("Tokens")
    await stranger.follow("Import tokens")
    await stranger.write("Or paste it here", "\n".join(SECRETS))
    await stranger.press("Check the lines")
    await stranger.press("Import 200 tokens")
    await stranger.see("200 tokens were imported.")
    assert await run_in_thread(UpstreamToken.objects.count) == 201


async def test_a_file_of_tokens_is_imported(stranger, tmp_path):
    file = tmp_path / "tokens.csv"
    file.write_text("token,label\n" + "".join(f"{secret},June\n" for secret in SECRETS[:20]))
    await stranger.follow("Tokens")
    await stranger.follow("Import tokens")
    await stranger.choose_file("A file", file)
    await stranger.press("Check the lines")
    await stranger.press("Import 20 tokens")
    await stranger.see("20 tokens were imported.")
    assert await run_in_thread(UpstreamToken.objects.filter(label="June").count) == 20


@BOTH_WIDTHS
async def test_a_token_is_found_by_its_pasted_secret(stranger, provider):
    await run_in_thread(rows.create_tokens, provider, *SECRETS[:30])
    wanted = await run_in_thread(UpstreamToken.from_secret, provider, SECRETS[7])
    row = await run_in_thread(UpstreamToken.objects.get, fingerprint=wanted.fingerprint)
    await stranger.search(SECRETS[7], "Upstream token")
    assert stranger.page.url.endswith(f"/{row.pk}/change/")
    await stranger.follow("Tokens")
    box = await stranger.page.get_by_role("textbox", name="Search").bounding_box()
    assert box["width"] > 200
    await stranger.write("Search", SECRETS[7])
    await stranger.press("Search")
    await stranger.page.wait_for_url(f"**/{row.pk}/change/")
    assert not any("everyday" in address for address in stranger.visited)


async def test_the_reason_why_a_token_is_disabled_is_found(stranger, token):
    await run_in_thread(disable_token, token)
    await stranger.follow("Overview")
    await stranger.see("1 token of fake is disabled")
    await stranger.follow("1 disabled")
    await stranger.see("Incorrect API key provided")


@BOTH_WIDTHS
async def test_a_disabled_token_works_again(stranger, token):
    await run_in_thread(disable_token, token)
    await stranger.follow("Tokens")
    await stranger.follow("disabled")
    await stranger.follow("sk…")
    await stranger.press("Enable")
    row = await rows.reload_row(token)
    assert row.state == State.ACTIVE


# --- keys and people ------------------------------------------------------------------------------
@BOTH_WIDTHS
async def test_a_key_is_issued_with_limits_and_an_end(stranger):
    await stranger.follow("API keys")
    await stranger.follow("Add API key")
    await stranger.write("Or a new user:", "june")
    await stranger.write("Ends:", "in 30 days")
    await stranger.unfold("Limits")
    await stranger.write("Requests per minute:", "60")
    await stranger.write("Month, USD:", "20")
    await stranger.press("Save")
    await stranger.see("sk-ps-")
    key = await run_in_thread(ApiKey.objects.get, user__username="june")
    limits = await run_in_thread(LimitSet.objects.get, key=key)
    assert timedelta(days=29) < key.expires_at - timezone.now() < timedelta(days=32)
    assert (limits.requests_per_minute, limits.month_budget_usd) == (60, 20)


async def test_a_key_is_revoked(stranger, alice):
    await stranger.search(alice.key[:12], "API key")
    await stranger.follow("Revoke")
    await stranger.press("Revoke the key")
    await stranger.see("revoked")
    row = await rows.reload_row(alice.row)
    assert row.revoked_at is not None


async def test_usage_and_cost_of_one_user_are_read(stranger, gateway, provider, alice):
    await run_in_thread(create_price, provider)
    await gateway.reload_rows()
    await gateway.request_chat(alice.key)
    await stranger.follow("Users")
    await stranger.follow("alice")
    await stranger.see("last 30 days", "0.015 USD")


def create_price(provider: Provider) -> None:
    Price.objects.create(
        provider=provider,
        upstream_model="upstream-model",
        valid_from=timezone.now(),
        prompt_usd=1_000,
        completion_usd=2_000,
    )


async def test_a_colleague_may_read_and_change_nothing(stranger, browse, provider):
    await stranger.follow("Users")
    await stranger.follow("Add user")
    await stranger.write("Username:", "june")
    await stranger.write("Password:", "a-long-password-of-june")
    await stranger.write("Password confirmation:", "a-long-password-of-june")
    await stranger.tick("Viewer")
    await stranger.press("Save")
    await stranger.see("was added successfully")
    june = await run_in_thread(User.objects.get, username="june")
    assert june.is_staff
    assert not june.is_superuser
    await browse.page.context.clear_cookies()
    await browse.sign_in("june", "a-long-password-of-june")
    await browse.open(f"/admin/providers/provider/{provider.pk}/change/")
    await stranger.see("Base URL")
    assert not await browse.page.get_by_role("button", name="Save").count()


async def test_a_user_is_deleted_with_all_his_content(stranger, mallory):
    await run_in_thread(create_conversation, mallory.user, 2)
    await stranger.follow("Users")
    await stranger.follow("mallory")
    await stranger.follow("Delete with all content")
    await stranger.press("Yes, I’m sure")
    remains = (
        User.objects.filter(username="mallory"),
        ApiKey.objects.filter(pk=mallory.row.pk),
        Conversation.objects.all(),
        Item.objects.all(),
    )
    for rows_of_him in remains:
        await wait_until_true(lambda rows=rows_of_him: run_in_thread(lambda: not rows.exists()))


# --- requests and conversations -------------------------------------------------------------------
@BOTH_WIDTHS
async def test_the_reason_why_a_request_failed_is_found(stranger, gateway, upstream, alice, caplog):
    refusal = send_refusal(500, "The engine is on fire")
    upstream.set_default_script(refusal)
    await gateway.request_chat(alice.key)
    await stranger.follow("Overview")
    await stranger.see("Recent failures")
    await stranger.follow_in("Recent failures", "202")
    await stranger.see("The engine is on fire")


async def test_usage_is_taken_home_as_csv(stranger, gateway, alice):
    await gateway.request_chat(alice.key)
    await stranger.follow("Requests")
    async with stranger.page.expect_download() as download:
        await stranger.follow("CSV of all that match (newest 100,000 at most)")
    file = await (await download.value).path()
    text = await asyncio.to_thread(file.read_text, encoding="utf-8-sig")
    assert "alice" in text
    assert text.count("\n") == 2


async def test_a_word_of_a_conversation_is_found(stranger, alice):
    row = await run_in_thread(create_conversation, alice.user, 2)
    turn = await run_in_thread(row.turns.get, number=2)
    await run_in_thread(lambda: create_item(turn, "Der Zug nach Graz", role="user"))
    await stranger.follow("Conversations")
    await stranger.write("Search", "Graz")
    await stranger.press("Show")
    await stranger.follow("Birds Der Zug nach Graz")
    await stranger.see("question 2", "Der Zug nach")
