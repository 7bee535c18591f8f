"""Deleting what has very much behind it: removed in slices, and gone on with."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from api.models import UsageRecord
from conversations.models import Conversation, Item
from conversations.tests.test_retention import CANARY, conversation, document, dump_tables
from providers.deletions import deletion_jobs
from providers.models import Deletion, Provider
from proxysite import tasks
from proxysite.tests.deletions.deletion_rows import create_conversation, delete_in_admin

pytestmark = pytest.mark.usefixtures("transactional_db")
FOREVER = 3_600.0


def create_usage_record(user, **fields):
    given = {"endpoint": "chat/completions", "model": "m", "stream": False, "status": "complete"}
    return UsageRecord.objects.create(user=user, started_at=datetime.now(UTC), **given | fields)


def test_a_user_with_thousands_of_items_goes_in_slices_of_their_own_transactions(alice, mallory):
    create_conversation(alice.user)
    row = conversation(alice.user)
    row.documents.add(document(alice.user))
    conversation(alice.user, base_turn=row.turns.first())
    kept = create_conversation(mallory.user, turns=1, items=1)
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
    create_conversation(alice.user, turns=5)
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
    create_conversation(alice.user, turns=2)
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
            late.append(create_conversation(alice.user, turns=1, items=1))
        return erase(model, ids)

    monkeypatch.setattr(deletion_jobs, "delete_independent_rows", slow)
    monkeypatch.setitem(
        deletion_jobs.RULES_BY_MODEL, "auth.user", deletion_jobs.DeletionRules(is_one_by_one=True)
    )
    assert deletion_jobs.continue_deletion(deletion, FOREVER)
    assert late
    assert not Conversation.objects.exists()


def test_usage_records_stay_and_say_whose_they_were(alice, browser):
    record = create_usage_record(alice.user, key=alice.row)
    with CaptureQueriesContext(connection) as queries:
        delete_in_admin(browser, "auth/user", alice.user.pk)
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
        delete_in_admin(browser, "providers/provider", provider_with_tokens.pk)
    assert not any("api_usagerecord" in query["sql"] for query in queries)
    assert UsageRecord.objects.filter(provider=provider_with_tokens.pk).count() == 3_000
    assert not Provider.objects.exists()


def test_begun_is_begun_or_not(alice, monkeypatch):
    def fail(**fields):
        raise RuntimeError

    monkeypatch.setattr(Deletion.objects, "create", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        deletion_jobs.create_deletions([alice.user], "operator")
    assert User.objects.get(pk=alice.user.pk).is_active
