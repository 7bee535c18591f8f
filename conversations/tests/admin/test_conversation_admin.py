"""The admin of conversations: a readable transcript, nothing of it live, nothing for those without
the permission.
"""

import asyncio
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from api.models import UsageRecord
from conversations.models import Conversation, Document, Item, Turn
from conversations.search import item_search
from conversations.tests.admin.conversation_pages import LIST, shown
from conversations.tests.answered_turns import create_conversation, create_item
from providers.deletions import deletion_jobs
from providers.models import Deletion
from providers.tests.admin.provider_pages import read_page

pytestmark = pytest.mark.usefixtures("transactional_db")
READING = ("view_conversation", "read_content")


def test_the_list_shows_what_there_is(admin_client, alice):
    create_conversation(alice.user, 3)
    html = read_page(admin_client, LIST)
    assert "Birds" in html
    assert "alice" in html
    assert '<td class="field-turn_count">3</td>' in html


def test_the_list_counts_nothing_and_asks_once_for_all_users(admin_client, alice):
    for _ in range(3):
        create_conversation(alice.user)
    with CaptureQueriesContext(connection) as queries:
        read_page(admin_client, LIST)
    said = [query["sql"] for query in queries if "conversations_" in query["sql"]]
    assert not [sql for sql in said if "COUNT(" in sql]
    assert len(said) == 3  # how far it goes, the rows, and their turns


def test_conversations_are_found_by_id_turn_user_and_words(admin_client, alice, mallory):
    mine = create_conversation(alice.user, title="of alice")
    create_conversation(mallory.user, title="of mallory")
    item = create_item(mine.turns.get(), "北京的天气")
    turn = mine.turns.get().pk.hex
    for term in (
        mine.pk,
        f"resp_{turn}",
        f"chatcmpl-{turn}",
        f"req_{turn}",
        "alice",
        "text:天气",
        "天气",
        "北京",
        "ali",
        item.public_id,
    ):
        html = read_page(admin_client, LIST, q=term)
        assert "of alice" in html, term
        assert "of mallory" not in html, term
    for term in ("nothing", "resp_x", "conv_0", f"resp_{uuid.uuid4().hex}"):
        assert "of alice" not in read_page(admin_client, LIST, q=term), term


def test_staff_without_the_permission_see_nothing(alice):
    row = create_conversation(alice.user)
    staff, client = User.objects.create_user("helper", is_staff=True), Client()
    staff.user_permissions.add(*Permission.objects.exclude(content_type__model="conversation"))
    client.force_login(staff)
    for address in (
        reverse(f"admin:{LIST}"),
        reverse(f"admin:{LIST}") + "?q=text:question",
        reverse("admin:conversations_conversation_change", args=[quote(row.pk)]),
        reverse("admin:conversations_conversation_delete", args=[quote(row.pk)]),
    ):
        answer = client.get(address)
        assert answer.status_code == 403
        assert b"question 1" not in answer.content
    assert client.post(reverse(f"admin:{LIST}"), action("export_jsonl", row)).status_code == 403
    assert LIST not in client.get("/admin/").content.decode()


def test_who_may_only_look_cannot_delete(alice):
    row, client = create_conversation(alice.user), Client()
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(*Permission.objects.filter(codename__in=READING))
    client.force_login(looker)
    assert "question 1" in shown(client, row)
    client.post(reverse(f"admin:{LIST}"), action("delete_selected", row, post="yes"))
    assert (
        client.post(
            reverse("admin:conversations_conversation_delete", args=[quote(row.pk)])
        ).status_code
        == 403
    )
    assert Conversation.objects.exists()


def action(name: str, *rows: Conversation, **more: str) -> dict[str, Any]:
    return {"action": name, "_selected_action": [row.pk for row in rows], **more}


def test_the_delete_action_and_the_delete_page_leave_nothing(admin_client, alice):
    one, two, three = (create_conversation(alice.user) for _ in range(3))
    asked = admin_client.post(reverse(f"admin:{LIST}"), action("delete_selected", one, two))
    assert b"Are you sure" in asked.content
    assert Conversation.objects.count() == 3
    admin_client.post(reverse(f"admin:{LIST}"), action("delete_selected", one, two, post="yes"))
    assert Conversation.objects.get() == three
    admin_client.post(
        reverse("admin:conversations_conversation_delete", args=[quote(three.pk)]), {"post": "yes"}
    )
    assert not Conversation.objects.exists()
    assert not Item.objects.exists()
    assert item_search.search_items(None, "question", 10) == []


def read_file(answer: Any) -> bytes:
    async def join() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return asyncio.run(join())


def test_the_export_action_is_a_file_of_the_chosen(admin_client, alice):
    rows = [create_conversation(alice.user) for _ in range(3)]
    answer: Any = admin_client.post(reverse(f"admin:{LIST}"), action("export_jsonl", *rows[:2]))
    body = read_file(answer)
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.jsonl"'
    assert "no-store" in answer.headers["cache-control"]
    assert all(row.pk.encode() in body for row in rows[:2])
    assert rows[2].pk.encode() not in body


def test_the_history_has_ids_and_nothing_that_was_said(admin_client, alice):
    one, two, three = (create_conversation(alice.user) for _ in range(3))
    pks = {one.pk, two.pk, three.pk}
    admin_client.post(reverse(f"admin:{LIST}"), action("export_jsonl", one, two, three))
    admin_client.post(reverse(f"admin:{LIST}"), action("delete_selected", one, two, post="yes"))
    admin_client.post(
        reverse("admin:conversations_conversation_delete", args=[quote(three.pk)]), {"post": "yes"}
    )
    assert not Conversation.objects.exists()
    exported = LogEntry.objects.filter(change_message="Exported.").values_list(
        "object_repr", flat=True
    )
    deleted = LogEntry.objects.filter(action_flag=DELETION).values_list("object_repr", flat=True)
    assert (set(exported), set(deleted)) == (pks, pks)
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == pks
    assert LogEntry.objects.count() == 6
    assert "question" not in str(list(LogEntry.objects.values()))


def test_a_hit_of_a_search_leads_to_its_place(admin_client, alice):
    row = create_conversation(alice.user, 3)
    item = create_item(row.turns.get(number=2), "We went to Graz by train")
    html = read_page(admin_client, LIST, q="graz")
    assert "We went to Graz by train" in html
    assert re.search(rf"/change/\?[^\"]*\bhit={item.pk}[^\"]*#item-{item.pk}\"", html)


def test_the_list_sums_tokens_and_cost_of_the_turns(admin_client, alice):
    row = create_conversation(
        alice.user, 2, turn_fields={"usage": {"prompt_tokens": 700, "completion_tokens": 600}}
    )
    first, second = row.turns.order_by("number")
    Turn.objects.filter(pk=second.pk).update(model="glm-5")
    for turn, cost in ((first, 1_250_000), (second, None)):
        UsageRecord.objects.create(
            pk=turn.pk,
            user=alice.user,
            started_at=timezone.now(),
            endpoint="chat/completions",
            model="m",
            stream=False,
            status="complete",
            cost_micro_usd=cost,
        )
    html = read_page(admin_client, LIST)
    for text in ("2,600", "$1.25*", "glm-5, kimi-k2"):
        assert text in html, text


def test_the_filters_find_what_they_say(admin_client, alice, mallory):
    mine = create_conversation(alice.user, title="of alice", turn_fields={"tokens": 1})
    create_conversation(mallory.user, title="of mallory")
    Turn.objects.filter(conversation=mine).update(model="glm-5")
    mine.documents.add(Document.objects.create(user=alice.user, digest="d", title="a long text"))
    Conversation.objects.filter(pk=mine.pk).update(used_at=datetime(2024, 5, 5, 12, tzinfo=UTC))
    for query in (
        {"user": "ali"},
        {"user__id__exact": alice.user.pk},
        {"model": "glm"},
        {"documents": "yes"},
        {"until": "2024-05-05"},
        {"since": "2024-05-05", "until": "2024-05-06"},
    ):
        html = read_page(admin_client, LIST, **query)
        assert "of alice" in html, query
        assert "of mallory" not in html, query
    for query in (
        {"user": "mal"},
        {"documents": "no"},
        {"since": "2024-05-06"},
        {"kind": "open", "model": "kimi"},
    ):
        html = read_page(admin_client, LIST, **query)
        assert "of mallory" in html, query
        assert "of alice" not in html, query
    for odd in ({"since": "x"}, {"documents": "x"}, {"kind": "x"}, {"until": "9999-12-31"}):
        assert "of alice" in read_page(admin_client, LIST, **odd)


def test_what_is_filtered_is_exported_and_noted(admin_client, alice, mallory):
    mine = create_conversation(alice.user, title="of alice")
    create_conversation(mallory.user, title="of mallory")
    address = f"{reverse('admin:conversations_conversation_export')}?user=alice"
    assert admin_client.get(address).status_code == 400
    body = read_file(admin_client.post(address, {"form": "markdown"}))
    assert b"# of alice" in body
    assert b"of mallory" not in body
    assert LogEntry.objects.get().object_id == mine.pk
    address = reverse("admin:conversations_conversation_export_one", args=[quote(mine.pk)])
    assert mine.pk.encode() in read_file(admin_client.post(address, {"form": "jsonl"}))
    assert admin_client.post(address, {"form": "x"}).status_code == 400


def test_who_may_view_but_not_read_sees_no_content(alice):
    row, client = create_conversation(alice.user, title="Secret birds"), Client()
    viewer = User.objects.create_user("viewer", is_staff=True)
    permissions = ("view_conversation", "delete_conversation")
    viewer.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client.force_login(viewer)
    for html in (
        read_page(client, LIST),
        read_page(client, LIST, q="question"),
        shown(client, row),
        shown(client, row, turn=1),
        read_page(client, "conversations_conversation_delete", quote(row.pk)),
    ):
        assert "Secret birds" not in html
        assert "question 1" not in html
    assert row.pk in read_page(client, LIST)
    assert row.pk not in read_page(client, LIST, q="question")
    for name, args in (("export", ()), ("export_one", (quote(row.pk),))):
        address = reverse(f"admin:conversations_conversation_{name}", args=args)
        assert client.post(address, {"form": "jsonl"}).status_code == 403
        assert client.get(address).status_code == 403
    client.post(reverse(f"admin:{LIST}"), action("export_jsonl", row))
    assert not LogEntry.objects.exists()


def test_reading_anothers_conversation_is_noted_once_for_an_opening(admin_client, alice, settings):
    row = create_conversation(alice.user, 2)
    for query in ({}, {"before": 2}, {"hit": row.items.first().pk}):
        shown(admin_client, row, **query)
    note = LogEntry.objects.get()
    assert (note.object_id, note.object_repr, note.change_message) == (row.pk, row.pk, "Read.")
    own = create_conversation(User.objects.get(username="boss"))
    shown(admin_client, own)
    assert LogEntry.objects.count() == 1
    LogEntry.objects.all().delete()
    settings.AUDIT_READING = False
    shown(admin_client, row)
    assert not LogEntry.objects.exists()


def test_all_conversations_of_a_user_are_deleted_after_their_counts(admin_client, alice, mallory):
    create_conversation(alice.user, 3)
    create_conversation(alice.user, 2)
    other = create_conversation(mallory.user)
    address = f"{reverse('admin:conversations_conversation_delete_all')}?user={alice.user.pk}"
    assert address in read_page(admin_client, LIST, user="alice")
    page = admin_client.get(address).content.decode()
    for text in ('class="number">2<', 'class="number">5<', 'class="number">10<'):
        assert text in page, text
    nobody = admin_client.get(address.partition("?")[0], {"user": 0})
    assert nobody["location"] == reverse(f"admin:{LIST}")
    admin_client.post(address, {"name": "mallory"})
    assert Conversation.objects.count() == 3
    answer = admin_client.post(address, {"name": "alice"}, follow=True)
    assert "2 conversations deleted" in answer.content.decode()
    assert Conversation.objects.get() == other
    assert Item.objects.filter(conversation=other).count() == Item.objects.count()
    deletion = Deletion.objects.get()
    assert "Birds" not in deletion.name
    assert deletion.finished_at is not None


def test_a_large_deletion_hides_its_rows_at_once_and_goes_on_in_the_background(
    admin_client, alice, settings, monkeypatch
):
    settings.DELETION_WAIT_SECONDS = 0
    sent = []
    monkeypatch.setattr(deletion_jobs, "send_deletion_task", lambda: sent.append(True))
    row = create_conversation(alice.user, 3)
    document = Document.objects.create(user=alice.user, digest="d", title="only its own")
    row.documents.add(document)
    admin_client.post(reverse(f"admin:{LIST}"), action("delete_selected", row, post="yes"))
    assert sent
    assert Conversation.objects.exists()
    assert row.pk not in read_page(admin_client, LIST)
    assert not Conversation.objects.of_user(alice.user.pk).exists()
    assert deletion_jobs.continue_all_deletions(60)
    assert not Conversation.objects.exists()
    assert not Item.objects.exists()
    assert not Document.objects.exists()
