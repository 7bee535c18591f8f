"""The transcript of a conversation in the admin: readable, paged, and nothing of it live."""

import re

import pytest
from django.contrib.admin.utils import quote

from conversations.admin import transcript
from conversations.models import Turn, TurnStatus
from conversations.tests.admin.conversation_pages import (
    LIST,
    MARKUP,
    shown,
)
from conversations.tests.answered_turns import create_conversation, create_item
from providers.tests.admin.provider_pages import read_page

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_a_conversation_is_a_readable_transcript(admin_client, alice):
    row = create_conversation(alice.user, 2)
    turn = row.turns.get(number=2)
    create_item(turn, "let me think", "reasoning", output=True)
    create_item(turn, 'weather({"city": "Graz"})', "function_call", output=True)
    create_item(
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
        extra_fields={
            "steps": [{"title": "First step", "content": "weigh it", "seconds": 1.25}, "odd"]
        },
        thinking={
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
    row = create_conversation(alice.user, title=MARKUP, metadata={"a": MARKUP})
    turn = row.turns.get()
    for kind in ("message", "reasoning", "function_call", MARKUP[:20]):
        create_item(turn, MARKUP, kind, role=MARKUP[:16], output=True)
    create_item(turn, "", "odd", data={"a": MARKUP})
    steps = [{"title": MARKUP, "content": MARKUP, "seconds": MARKUP}, MARKUP]
    Turn.objects.filter(pk=turn.pk).update(
        model=MARKUP,
        error={"code": MARKUP, "message": MARKUP},
        usage={"prompt_tokens": MARKUP},
        extra_fields={"steps": steps, MARKUP: MARKUP},
        thinking={"framework": MARKUP, "candidates": [MARKUP], MARKUP[:9]: MARKUP},
    )
    for html in (
        shown(admin_client, row),
        read_page(admin_client, LIST),
        read_page(admin_client, LIST, q=f"text:{MARKUP}"),
        read_page(admin_client, "conversations_conversation_delete", quote(row.pk)),
        read_page(admin_client, "conversations_conversation_history", quote(row.pk)),
    ):
        assert "<script>alert" not in html
        assert MARKUP[:20] not in html


@pytest.mark.parametrize(
    "extra_fields",
    [{"steps": "text"}, {"steps": 3}, {"candidates": "text"}, {"candidates": {"a": 1}}],
)
def test_extras_of_another_shape_do_not_break_the_page(admin_client, alice, extra_fields):
    row = create_conversation(alice.user)
    Turn.objects.update(extra_fields=extra_fields, usage={}, error={})
    assert "question 1" in shown(admin_client, row)


def test_big_conversations_are_paged(admin_client, alice, monkeypatch):
    monkeypatch.setattr(transcript, "TURNS_SHOWN", 3)
    row = create_conversation(alice.user, 8)
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
    row = create_conversation(alice.user)
    create_item(row.turns.get(), "y" * 350, role="user")
    html = shown(admin_client, row)
    assert "y" * 100 in html
    assert "y" * 101 not in html
    assert "250 more characters" in html


def test_a_page_of_many_turns_takes_few_queries(admin_client, alice, django_assert_max_num_queries):
    row = create_conversation(alice.user, 30)
    with django_assert_max_num_queries(14):
        shown(admin_client, row)
