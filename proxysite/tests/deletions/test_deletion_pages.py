"""The pages of a deletion: shortly counted, and what is being deleted is refused and hidden."""

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.models import ApiKey
from conversations.models import Document, Passage
from conversations.tests.test_retention import document
from providers.admin import big_tables
from providers.models import ChatModel, Deletion, Provider
from proxysite import tasks
from proxysite.testing import wait_until_true
from proxysite.tests.deletions.deletion_rows import create_conversation, delete_in_admin
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_the_confirmation_counts_up_to_a_bound_and_names_little(alice, browser, monkeypatch):
    monkeypatch.setattr(big_tables, "MOST_COUNTED", 1_000)
    create_conversation(alice.user)
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get(f"/admin/auth/user/{alice.user.pk}/delete/")
    html = answer.content.decode()
    assert "more than 1000 items" in html
    assert "30 turns" in html
    assert "1 API key" in html
    assert len(html) < 30_000
    assert len(queries) < 25
    assert not any(
        "SELECT COUNT(" in query["sql"] and "LIMIT" not in query["sql"] for query in queries
    )


@pytest.mark.parametrize("size", [10, 5_000])
def test_a_user_is_shut_out_and_hidden_at_once_whatever_is_behind_him(
    alice, browser, settings, size
):
    settings.DELETION_WAIT_SECONDS = 0
    create_conversation(alice.user, turns=size // 10, items=10)
    answer = delete_in_admin(browser, "auth/user", alice.user.pk)
    assert answer.status_code == 302
    assert not User.objects.filter(pk=alice.user.pk, is_active=True).exists()
    assert not ApiKey.objects.filter_valid().filter(user=alice.user.pk).exists()
    assert browser.get(f"/admin/auth/user/{alice.user.pk}/change/").status_code == 302
    shown = browser.get("/admin/auth/user/").content.decode()
    assert ">alice<" not in shown
    assert "removed in the background" in shown
    progress = " ".join(
        re.sub(r"<[^>]*>", " ", browser.get("/admin/providers/deletion/").content.decode()).split()
    )
    assert "alice user waits for the worker" in progress
    assert tasks.carry_on_deletions()
    assert "done" in browser.get("/admin/providers/deletion/").content.decode()
    assert not User.objects.filter(pk=alice.user.pk).exists()


async def test_a_deleted_users_key_is_refused_within_a_second(
    gateway, upstream, alice, operator, settings
):
    from providers.database.database_threads import run_in_thread

    settings.DELETION_WAIT_SECONDS = 0
    assert (await gateway.request_chat(alice.key)).status == 200

    def give_up():
        client = Client()
        client.force_login(operator.user)
        create_conversation(alice.user)
        delete_in_admin(client, "auth/user", alice.user.pk)
        assert User.objects.filter(pk=alice.user.pk).exists(), "his rows are still there"

    await run_in_thread(give_up)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused, 1.0)


def test_a_provider_with_many_tokens_is_asked_no_more_and_goes_in_slices(
    provider_with_tokens, browser, settings
):
    settings.DELETION_WAIT_SECONDS = 0
    html = browser.get(
        f"/admin/providers/provider/{provider_with_tokens.pk}/delete/"
    ).content.decode()
    assert "1500 upstream tokens" in html
    delete_in_admin(browser, "providers/provider", provider_with_tokens.pk)
    assert not Provider.objects.filter(enabled=True).exists()
    assert tasks.carry_on_deletions()
    for model in (Provider, ChatModel, UpstreamToken, Transition):
        assert not model.objects.exists(), model


def test_tokens_that_are_being_deleted_are_off_and_hidden(provider_with_tokens, browser, settings):
    settings.DELETION_WAIT_SECONDS = 0
    first = UpstreamToken.objects.first()
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(first.pk)],
        "select_across": 1,
        "post": "yes",
    }
    browser.post("/admin/tokens/upstreamtoken/", posted)
    assert not UpstreamToken.objects.filter_usable().exists()
    assert list(browser.get("/admin/tokens/upstreamtoken/").context["cl"].result_list) == []
    assert sorted(len(one.ids) for one in Deletion.objects.all()) == [500, 1_000]
    assert tasks.carry_on_deletions()
    assert not UpstreamToken.objects.exists()


def test_an_account_goes_with_its_token(transactional_db, browser):
    row = Provider.objects.create(name="kimi", kind="kimi_web", base_url="https://kimi.example")
    account = UpstreamAccount.objects.create(provider=row, email="june@example.org", sealed="x")
    UpstreamToken.objects.create(
        provider=row, account=account, sealed="x", fingerprint="f", masked="ju…"
    )
    delete_in_admin(browser, "tokens/upstreamaccount", account.pk)
    assert not UpstreamAccount.objects.exists()
    assert not UpstreamToken.objects.exists()


def test_documents_go_with_their_passages(alice, browser):
    row = document(alice.user)
    Passage.objects.bulk_create(
        Passage(document=row, number=n, start=0, end=1, score=0.5, text="x")
        for n in range(1, 2_500)
    )
    delete_in_admin(browser, "auth/user", alice.user.pk)
    assert not Document.objects.exists()
    assert not Passage.objects.exists()
