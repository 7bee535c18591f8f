"""The admin of conversations: a readable transcript, nothing of it live, nothing for those without
the permission.
"""

import asyncio
import re
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
from django.utils import timezone

from conversations.admin import transcript
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search

pytestmark = pytest.mark.usefixtures("transactional_db")
MARKUP = "<script>alert(1)</script>"
LIST = "conversations_conversation_changelist"


@pytest.fixture
def admin_client(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def page(client: Client, name: str, *args: Any, **query: Any) -> str:
    """The HTML of an admin page; it works under a policy that forbids inline scripts and styles."""
    response = client.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200, (response.status_code, name)
    html = response.content.decode()
    assert not re.search(
        r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html
    ), name
    return html


def shown(client: Client, row: Conversation, **query: Any) -> str:
    return page(client, "conversations_conversation_change", quote(row.pk), **query)


def conversation(user: Any, turns: int = 1, **fields: Any) -> Conversation:
    row = Conversation.objects.create(
        user=user, **{"kind": ConversationKind.OPEN, "title": "Birds", "last": turns, **fields}
    )
    for number in range(1, turns + 1):
        turn = Turn.objects.create(
            conversation=row,
            user=user,
            number=number,
            door=TurnEndpoint.CHAT,
            status=TurnStatus.COMPLETED,
            model="kimi-k2",
            finished_at=timezone.now(),
        )
        put(turn, f"question {number}", role="user")
        put(turn, f"answer {number}", role="assistant", output=True)
    return row


def put(turn: Turn, text: str, kind: str = "message", **fields: Any) -> Item:
    item = Item.objects.create(
        public_id=f"msg_{uuid.uuid4().hex}",
        conversation=turn.conversation,
        turn=turn,
        type=kind,
        text=text,
        **{"data": {}, **fields},
    )
    item_search.add_items_to_index(turn.user_id, [item])
    return item


def test_the_list_shows_what_there_is(admin_client, alice):
    conversation(alice.user, 3)
    html = page(admin_client, LIST)
    assert "Birds" in html
    assert "alice" in html
    assert '<td class="field-turn_count">3</td>' in html


def test_the_list_counts_nothing_and_asks_once_for_all_users(admin_client, alice):
    for _ in range(3):
        conversation(alice.user)
    with CaptureQueriesContext(connection) as queries:
        page(admin_client, LIST)
    said = [query["sql"] for query in queries if "conversations_" in query["sql"]]
    assert not [sql for sql in said if "COUNT(" in sql]
    assert len(said) == 2  # how far it goes, and the rows


def test_conversations_are_found_by_id_turn_user_and_words(admin_client, alice, mallory):
    mine = conversation(alice.user, title="of alice")
    conversation(mallory.user, title="of mallory")
    put(mine.turns.get(), "北京的天气")
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
        html = page(admin_client, LIST, q=term)
        assert "of alice" in html, term
        assert "of mallory" not in html, term
    for term in ("text:nothing", "resp_x", "conv_0", f"resp_{uuid.uuid4().hex}"):
        assert "of alice" not in page(admin_client, LIST, q=term), term


def test_a_conversation_is_a_readable_transcript(admin_client, alice):
    row = conversation(alice.user, 2)
    turn = row.turns.get(number=2)
    put(turn, "let me think", "reasoning", output=True)
    put(turn, 'weather({"city": "Graz"})', "function_call", output=True)
    put(
        turn,
        "",
        "web_search_call",
        output=True,
        data={"type": "web_search_call", "action": "what birds eat"},
    )
    Turn.objects.filter(pk=turn.pk).update(
        status=TurnStatus.INCOMPLETE,
        usage={"prompt_tokens": 11, "completion_tokens": 22},
        error={"code": "interrupted", "message": "The process has ended."},
        extras={"steps": [{"title": "First step", "content": "weigh it", "seconds": 1.25}, "odd"]},
        thought={
            "framework": "the plan",
            "candidates": ["draft one", "draft two"],
            "synthesis": "model",
        },
    )
    html = shown(admin_client, row)
    for text in (
        *(
            "question 1",
            "answer 1",
            "question 2",
            "let me think",
            "what birds eat",
            "11 / 22 tokens",
            "kimi-k2",
        ),
        *(
            "First step",
            "weigh it",
            "the plan",
            "draft one",
            "draft two",
            "synthesis",
            "The process has ended.",
        ),
        '<span class="badge badge-wait">incomplete</span>',
        "weather({&quot;city&quot;: &quot;Graz&quot;})",
    ):
        assert text in html, text
    assert (
        html.index("question 1")
        < html.index("answer 1")
        < html.index("question 2")
        < html.index("answer 2")
    )
    assert re.search(r"<details[^>]*><summary>reasoning\s*</summary>", html)
    assert "2 steps" in html
    assert 'name="_save"' not in html


def test_what_was_said_is_only_text(admin_client, alice):
    row = conversation(alice.user, title=MARKUP, metadata={"a": MARKUP})
    turn = row.turns.get()
    for kind in ("message", "reasoning", "function_call", MARKUP[:20]):
        put(turn, MARKUP, kind, role=MARKUP[:16], output=True)
    put(turn, "", "odd", data={"a": MARKUP})
    steps = [{"title": MARKUP, "content": MARKUP, "seconds": MARKUP}, MARKUP]
    Turn.objects.filter(pk=turn.pk).update(
        model=MARKUP,
        error={"code": MARKUP, "message": MARKUP},
        usage={"prompt_tokens": MARKUP},
        extras={"steps": steps, MARKUP: MARKUP},
        thought={"framework": MARKUP, "candidates": [MARKUP], MARKUP[:9]: MARKUP},
    )
    for html in (
        shown(admin_client, row),
        page(admin_client, LIST),
        page(admin_client, LIST, q=f"text:{MARKUP}"),
        page(admin_client, "conversations_conversation_delete", quote(row.pk)),
        page(admin_client, "conversations_conversation_history", quote(row.pk)),
    ):
        assert "<script>alert" not in html
        assert MARKUP[:20] not in html


@pytest.mark.parametrize(
    "extras", [{"steps": "text"}, {"steps": 3}, {"candidates": "text"}, {"candidates": {"a": 1}}]
)
def test_extras_of_another_shape_do_not_break_the_page(admin_client, alice, extras):
    row = conversation(alice.user)
    Turn.objects.update(extras=extras, usage={}, error={})
    assert "question 1" in shown(admin_client, row)


def test_big_conversations_are_paged(admin_client, alice, monkeypatch):
    monkeypatch.setattr(transcript, "TURNS_SHOWN", 3)
    row = conversation(alice.user, 8)
    seen, query = [], {}
    for _ in range(3):
        html = shown(admin_client, row, **query)
        seen.append([int(n) for n in re.findall(r">question (\d+)<", html)])
        older = re.search(r'href="\?before=(\d+)#transcript"', html)
        assert ("The last turns" in html) == bool(query)
        if older is None:
            break
        query = {"before": older[1]}
    assert seen == [[6, 7, 8], [3, 4, 5], [1, 2]]
    for odd in ("x", "-1", "9" * 30, ""):
        assert "question 8" in shown(admin_client, row, before=odd)


def test_very_long_texts_are_cut_and_the_page_says_so(admin_client, alice, monkeypatch):
    monkeypatch.setattr(transcript, "SHOWN_CHARS", 100)
    row = conversation(alice.user)
    put(row.turns.get(), "y" * 350, role="user")
    html = shown(admin_client, row)
    assert "y" * 100 in html
    assert "y" * 101 not in html
    assert "250 more characters" in html


def test_a_page_of_many_turns_takes_few_queries(admin_client, alice, django_assert_max_num_queries):
    row = conversation(alice.user, 30)
    with django_assert_max_num_queries(14):
        shown(admin_client, row)


def test_staff_without_the_permission_see_nothing(alice):
    row = conversation(alice.user)
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
    row, client = conversation(alice.user), Client()
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
    one, two, three = (conversation(alice.user) for _ in range(3))
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

    rows = [conversation(alice.user) for _ in range(3)]
    answer: Any = admin_client.post(reverse(f"admin:{LIST}"), action("export", *rows[:2]))
    body = asyncio.run(whole(answer.streaming_content))
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.jsonl"'
    assert "no-store" in answer.headers["cache-control"]
    assert all(row.pk.encode() in body for row in rows[:2])
    assert rows[2].pk.encode() not in body


def test_the_history_has_ids_and_nothing_that_was_said(admin_client, alice):
    one, two, three = (conversation(alice.user) for _ in range(3))
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
