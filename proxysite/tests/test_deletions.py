"""Deleting what has very much behind it: counted shortly, refused at once, removed in slices, gone
on with.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.models import ApiKey, UsageRecord
from conversations.models import (
    Conversation,
    ConversationKind,
    Document,
    Item,
    Passage,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.tests.test_retention import CANARY, conversation, document, dump_tables
from providers.admin import big_tables
from providers.deletions import deletion_jobs
from providers.models import ChatModel, Deletion, Provider
from proxysite import tasks
from proxysite.testing import rows, wait_until_true
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.usefixtures("transactional_db")
FOREVER = 3_600.0


def talk(user, turns=30, items=100):
    """A conversation with so many items, in few statements."""
    row = Conversation.objects.create(user=user, kind=ConversationKind.OPEN)
    made = Turn.objects.bulk_create(
        Turn(
            conversation=row,
            user=user,
            number=n,
            endpoint=TurnEndpoint.CHAT,
            status=TurnStatus.COMPLETED,
        )
        for n in range(turns)
    )
    Item.objects.bulk_create(
        Item(
            public_id=f"msg_{uuid.uuid4().hex}",
            conversation=row,
            turn=turn,
            type="message",
            data={},
        )
        for turn in made
        for _ in range(items)
    )
    return row


def used(user, **fields):
    given = {"endpoint": "chat/completions", "model": "m", "stream": False, "status": "complete"}
    return UsageRecord.objects.create(user=user, started_at=datetime.now(UTC), **given | fields)


def delete(client, model, pk):
    return client.post(f"/admin/{model}/{pk}/delete/", {"post": "yes"})


@pytest.fixture
def browser(operator):
    client = Client()
    client.force_login(operator.user)
    return client


# --- the work -------------------------------------------------------------------------------------
def test_a_user_with_thousands_of_items_goes_in_slices_of_their_own_transactions(alice, mallory):
    talk(alice.user)
    row = conversation(alice.user)
    row.documents.add(document(alice.user))
    conversation(alice.user, base_turn=row.turns.first())
    kept = talk(mallory.user, turns=1, items=1)
    (deletion,) = deletion_jobs.create_deletions([alice.user], "operator")
    with CaptureQueriesContext(connection) as queries:
        sizes = list(deletion_jobs.delete_in_slices(User, deletion.ids))
    assert max(sizes) <= deletion_jobs.DELETION_SLICE_ROWS
    assert sum(sizes) > 3_000
    assert len(sizes) < 60
    assert len(queries) < 12 * len(sizes), (
        "a slice costs a few statements, however many rows there are"
    )
    assert CANARY not in dump_tables()
    assert not User.objects.filter(pk=alice.user.pk).exists()
    assert list(Conversation.objects.all()) == [kept]
    assert Item.objects.count() == 1


def test_what_a_killed_process_left_is_gone_on_with(alice, monkeypatch):
    monkeypatch.setattr(deletion_jobs, "DELETION_SLICE_ROWS", 100)
    talk(alice.user, turns=5)
    (deletion,) = deletion_jobs.create_deletions([alice.user], "operator")
    assert not deletion_jobs.continue_deletion(deletion, seconds=0), "one slice and no more"
    deletion.refresh_from_db()
    assert deletion.removed == 100
    assert deletion.finished_at is None
    Deletion.objects.update(alive_until=datetime.now(UTC) + timedelta(minutes=1))
    assert not deletion_jobs.continue_deletion(deletion, FOREVER), "another process works at it"
    assert Item.objects.count() == 400
    Deletion.objects.update(alive_until=datetime.now(UTC) - timedelta(seconds=1))
    assert tasks.carry_on_deletions()
    deletion.refresh_from_db()
    assert deletion.finished_at is not None
    assert deletion.removed >= 506, "items, turns, conversation"
    assert not User.objects.filter(pk=alice.user.pk).exists()


def test_a_task_leaves_the_worker_to_others_and_orders_the_rest(alice, monkeypatch, settings):
    monkeypatch.setattr(deletion_jobs, "DELETION_SLICE_ROWS", 100)
    settings.DELETION_RUN_SECONDS = 0
    ordered = []
    monkeypatch.setattr(deletion_jobs, "send_deletion_task", lambda: ordered.append(1))
    talk(alice.user, turns=2)
    deletion_jobs.create_deletions([alice.user], "operator")
    runs = 0
    while not tasks.carry_on_deletions():
        runs += 1
        assert runs < 100
    assert len(ordered) == runs > 2


def test_a_row_that_comes_while_its_user_goes_does_not_stop_the_deletion(alice, monkeypatch):
    (deletion,) = deletion_jobs.create_deletions([alice.user], "operator")
    erase, late = deletion_jobs.delete_independent_rows, []

    def slow(model, ids):
        if model is User and not late:
            late.append(talk(alice.user, turns=1, items=1))
        return erase(model, ids)

    monkeypatch.setattr(deletion_jobs, "delete_independent_rows", slow)
    monkeypatch.setitem(
        deletion_jobs.RULES_BY_MODEL, "auth.user", deletion_jobs.DeletionRules(is_one_by_one=True)
    )
    assert deletion_jobs.continue_deletion(deletion, FOREVER)
    assert late
    assert not Conversation.objects.exists()


def test_usage_records_stay_and_say_whose_they_were(alice, browser):
    record = used(alice.user, key=alice.row)
    with CaptureQueriesContext(connection) as queries:
        delete(browser, "auth/user", alice.user.pk)
    assert not any("api_usagerecord" in query["sql"] for query in queries), (
        "nothing is written or looked for there"
    )
    record.refresh_from_db()
    assert (record.user_id, record.key_id) == (alice.user.pk, alice.row.pk)
    for page in ("/admin/api/usagerecord/", f"/admin/api/usagerecord/{record.pk}/change/"):
        assert "alice (deleted)" in browser.get(page).content.decode()


def test_a_deletion_needs_no_more_statements_for_more_usage(provider_with_tokens, browser):
    UsageRecord.objects.bulk_create(
        UsageRecord(
            id=uuid.uuid4(),
            started_at=datetime.now(UTC),
            endpoint="chat/completions",
            model="m",
            stream=False,
            status="complete",
            provider=provider_with_tokens,
        )
        for _ in range(3_000)
    )
    with CaptureQueriesContext(connection) as queries:
        delete(browser, "providers/provider", provider_with_tokens.pk)
    assert not any("api_usagerecord" in query["sql"] for query in queries)
    assert UsageRecord.objects.filter(provider=provider_with_tokens.pk).count() == 3_000
    assert not Provider.objects.exists()


# --- the pages ------------------------------------------------------------------------------------
@pytest.fixture
def provider_with_tokens(transactional_db):
    row = rows.create_provider("https://api.example.com/v1", "acme")
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(row, f"sk-{n}") for n in range(1_500)]
    )
    UpstreamToken.objects.filter(masked__startswith="sk-1").mark_disabled("a test")
    return row


def test_the_confirmation_counts_up_to_a_bound_and_names_little(alice, browser, monkeypatch):
    monkeypatch.setattr(big_tables, "MOST_COUNTED", 1_000)
    talk(alice.user)
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
    talk(alice.user, turns=size // 10, items=10)
    answer = delete(browser, "auth/user", alice.user.pk)
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
        talk(alice.user)
        delete(client, "auth/user", alice.user.pk)
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
    delete(browser, "providers/provider", provider_with_tokens.pk)
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
    delete(browser, "tokens/upstreamaccount", account.pk)
    assert not UpstreamAccount.objects.exists()
    assert not UpstreamToken.objects.exists()


def test_documents_go_with_their_passages(alice, browser):
    row = document(alice.user)
    Passage.objects.bulk_create(
        Passage(document=row, number=n, start=0, end=1, score=0.5, text="x")
        for n in range(1, 2_500)
    )
    delete(browser, "auth/user", alice.user.pk)
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


def test_deletions_are_looked_at_and_not_changed(alice, browser):
    delete(browser, "auth/user", alice.user.pk)
    row = Deletion.objects.get()
    assert (row.name, row.requested_by) == ("alice", "operator")
    page = browser.get(f"/admin/providers/deletion/{row.pk}/change/").content.decode()
    assert 'name="_save"' not in page
    assert delete(browser, "providers/deletion", row.pk).status_code == 403


def test_begun_is_begun_or_not(alice, monkeypatch):
    def fail(**fields):
        raise RuntimeError

    monkeypatch.setattr(Deletion.objects, "create", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        deletion_jobs.create_deletions([alice.user], "operator")
    assert User.objects.get(pk=alice.user.pk).is_active
