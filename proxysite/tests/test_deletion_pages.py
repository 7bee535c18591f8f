"""The pages of deletions: what is counted shortly, refused at once, and who may delete."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.models import ApiKey
from conversations.models import (
    Document,
    Passage,
)
from conversations.tests.test_retention import document
from providers.admin import big_tables
from providers.deletions import deletion_jobs
from providers.models import ChatModel, Deletion, Provider
from proxysite import tasks
from proxysite.testing import wait_until_true
from proxysite.tests.deletion_rows import delete, talk
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.usefixtures("transactional_db")
FOREVER = 3_600.0


def test_the_confirmation_counts_up_to_a_bound_and_names_little(
    alice, operator_client, monkeypatch
):
    monkeypatch.setattr(big_tables, "MOST_COUNTED", 1_000)
    talk(alice.user)
    with CaptureQueriesContext(connection) as queries:
        answer = operator_client.get(f"/admin/auth/user/{alice.user.pk}/delete/")
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
    alice, operator_client, settings, size
):
    settings.DELETION_WAIT_SECONDS = 0
    talk(alice.user, turns=size // 10, items=10)
    answer = delete(operator_client, "auth/user", alice.user.pk)
    assert answer.status_code == 302
    assert not User.objects.filter(pk=alice.user.pk, is_active=True).exists()
    assert not ApiKey.objects.valid().filter(user=alice.user.pk).exists()
    assert operator_client.get(f"/admin/auth/user/{alice.user.pk}/change/").status_code == 302
    shown = operator_client.get("/admin/auth/user/").content.decode()
    assert ">alice<" not in shown
    assert "removed in the background" in shown
    progress = " ".join(
        re.sub(
            r"<[^>]*>", " ", operator_client.get("/admin/providers/deletion/").content.decode()
        ).split()
    )
    assert "alice user waits for the worker" in progress
    assert tasks.carry_on_deletions()
    assert "done" in operator_client.get("/admin/providers/deletion/").content.decode()
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
        talk(alice.user)
        delete(client, "auth/user", alice.user.pk)
        assert User.objects.filter(pk=alice.user.pk).exists(), "his rows are still there"

    await run_in_thread(give_up)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused, 1.0)


def test_a_provider_with_many_tokens_is_asked_no_more_and_goes_in_slices(
    provider_with_tokens, operator_client, settings
):
    settings.DELETION_WAIT_SECONDS = 0
    html = operator_client.get(
        f"/admin/providers/provider/{provider_with_tokens.pk}/delete/"
    ).content.decode()
    assert "1500 upstream tokens" in html
    delete(operator_client, "providers/provider", provider_with_tokens.pk)
    assert not Provider.objects.filter(enabled=True).exists()
    assert tasks.carry_on_deletions()
    for model in (Provider, ChatModel, UpstreamToken, Transition):
        assert not model.objects.exists(), model


def test_tokens_that_are_being_deleted_are_off_and_hidden(
    provider_with_tokens, operator_client, settings
):
    settings.DELETION_WAIT_SECONDS = 0
    first = UpstreamToken.objects.first()
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(first.pk)],
        "select_across": 1,
        "post": "yes",
    }
    operator_client.post("/admin/tokens/upstreamtoken/", posted)
    assert not UpstreamToken.objects.filter_usable().exists()
    assert list(operator_client.get("/admin/tokens/upstreamtoken/").context["cl"].result_list) == []
    assert sorted(len(one.ids) for one in Deletion.objects.all()) == [500, 1_000]
    assert tasks.carry_on_deletions()
    assert not UpstreamToken.objects.exists()


def test_an_account_goes_with_its_token(transactional_db, operator_client):
    row = Provider.objects.create(name="kimi", kind="kimi_web", base_url="https://kimi.example")
    account = UpstreamAccount.objects.create(provider=row, email="june@example.org", sealed="x")
    UpstreamToken.objects.create(
        provider=row, account=account, sealed="x", fingerprint="f", masked="ju…"
    )
    delete(operator_client, "tokens/upstreamaccount", account.pk)
    assert not UpstreamAccount.objects.exists()
    assert not UpstreamToken.objects.exists()


def test_documents_go_with_their_passages(alice, operator_client):
    row = document(alice.user)
    Passage.objects.bulk_create(
        Passage(document=row, number=n, start=0, end=1, score=0.5, text="x")
        for n in range(1, 2_500)
    )
    delete(operator_client, "auth/user", alice.user.pk)
    assert not Document.objects.exists()
    assert not Passage.objects.exists()


# --- who may --------------------------------------------------------------------------------------
def test_who_may_change_users_gives_no_rights_and_touches_no_other_staff(operator):
    ops = User.objects.create_user("ops", is_staff=True)
    names = ("view_user", "change_user", "delete_user")
    ops.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(ops)
    own = f"/admin/auth/user/{ops.pk}/change/"
    assert 'name="is_superuser"' not in client.get(own).content.decode()
    client.post(own, {"username": "ops", "is_active": "on", "is_staff": "on", "is_superuser": "on"})
    ops.refresh_from_db()
    assert not ops.is_superuser
    assert client.post(f"/admin/auth/user/{operator.user.pk}/password/", {}).status_code == 403
    assert (
        client.post(f"/admin/auth/user/{operator.user.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(operator.user.pk)],
        "post": "yes",
    }
    client.post("/admin/auth/user/", posted)
    assert User.objects.filter(pk=operator.user.pk, is_active=True).exists()


def test_deletions_are_looked_at_and_not_changed(alice, operator_client):
    delete(operator_client, "auth/user", alice.user.pk)
    row = Deletion.objects.get()
    assert (row.name, row.requested_by) == ("alice", "operator")
    page = operator_client.get(f"/admin/providers/deletion/{row.pk}/change/").content.decode()
    assert 'name="_save"' not in page
    assert delete(operator_client, "providers/deletion", row.pk).status_code == 403


def test_begun_is_begun_or_not(alice, monkeypatch):
    def fail(**fields):
        raise RuntimeError

    monkeypatch.setattr(Deletion.objects, "create", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        deletion_jobs.create_deletions([alice.user], "operator")
    assert User.objects.get(pk=alice.user.pk).is_active
