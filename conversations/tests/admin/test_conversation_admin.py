"""The admin of conversations: a readable transcript, nothing of it live, nothing for those without
the permission.
"""

import asyncio
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from conversations.models import (
    Conversation,
    Item,
)
from conversations.search import item_search
from conversations.tests.admin.conversation_pages import LIST, shown
from conversations.tests.answered_turns import create_conversation, create_item
from providers.tests.admin.provider_pages import read_page

pytestmark = pytest.mark.usefixtures("transactional_db")


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
    assert len(said) == 2  # how far it goes, and the rows


def test_conversations_are_found_by_id_turn_user_and_words(admin_client, alice, mallory):
    mine = create_conversation(alice.user, title="of alice")
    create_conversation(mallory.user, title="of mallory")
    create_item(mine.turns.get(), "北京的天气")
    turn = mine.turns.get().pk.hex
    for term in (
        mine.pk,
        f"resp_{turn}",
        f"chatcmpl-{turn}",
        f"req_{turn}",
        "alice",
        "text:天气",
        "text: 北京",
    ):
        html = read_page(admin_client, LIST, q=term)
        assert "of alice" in html, term
        assert "of mallory" not in html, term
    for term in ("text:nothing", "resp_x", "conv_0", f"resp_{uuid.uuid4().hex}"):
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
    assert client.post(reverse(f"admin:{LIST}"), action("export", row)).status_code == 403
    assert LIST not in client.get("/admin/").content.decode()


def test_who_may_only_look_cannot_delete(alice):
    row, client = create_conversation(alice.user), Client()
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_conversation"))
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


def test_the_export_action_is_a_file_of_the_chosen(admin_client, alice):
    async def whole(pieces: Any) -> bytes:
        return b"".join([piece async for piece in pieces])

    rows = [create_conversation(alice.user) for _ in range(3)]
    answer: Any = admin_client.post(reverse(f"admin:{LIST}"), action("export", *rows[:2]))
    body = asyncio.run(whole(answer.streaming_content))
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.jsonl"'
    assert "no-store" in answer.headers["cache-control"]
    assert all(row.pk.encode() in body for row in rows[:2])
    assert rows[2].pk.encode() not in body


def test_the_history_has_ids_and_nothing_that_was_said(admin_client, alice):
    one, two, three = (create_conversation(alice.user) for _ in range(3))
    pks = {one.pk, two.pk, three.pk}
    admin_client.post(reverse(f"admin:{LIST}"), action("export", one, two, three))
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
