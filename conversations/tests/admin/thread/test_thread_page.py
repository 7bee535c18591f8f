"""The thread of a conversation in the admin: readable, paged, and nothing of it live."""

import re

import pytest
from django.contrib.admin.utils import quote
from django.utils import timezone

from api.models import UsageRecord
from conversations.admin.thread import item_rows, item_view, thread_page
from conversations.models import Turn, TurnStatus
from conversations.tests.admin.conversation_pages import (
    LIST,
    MARKUP,
    shown,
)
from conversations.tests.answered_turns import create_conversation, create_item
from providers.tests.admin.provider_pages import read_page

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_a_conversation_is_a_readable_thread(admin_client, alice):
    row = create_conversation(alice.user, 2)
    turn = row.turns.get(number=2)
    create_item(turn, "let me think", "reasoning", output=True)
    call = {"type": "function_call", "call_id": "c1", "name": "weather"}
    call["arguments"] = '{"city": "Graz"}'
    create_item(turn, 'weather({"city": "Graz"})', "function_call", output=True, data=call)
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
            "11 + 22 tokens",
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
        "<code>weather</code>",
        "&quot;city&quot;: &quot;Graz&quot;",
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


def read_questions(html):
    return [int(number) for number in re.findall(r">question (\d+)<", html)]


def test_big_conversations_are_paged(admin_client, alice, monkeypatch):
    monkeypatch.setattr(thread_page, "TURNS_SHOWN", 3)
    row = create_conversation(alice.user, 8)
    seen, query = [], {}
    for _ in range(3):
        html = shown(admin_client, row, **query)
        seen.append(read_questions(html))
        older = re.search(r'href="\?before=(\d+)#thread">Older', html)
        assert ("The last turns" in html) == bool(query)
        if older is None:
            break
        query = {"before": older[1]}
    assert seen == [[6, 7, 8], [3, 4, 5], [1, 2]]
    newer = re.search(r'href="\?before=(\d+)#thread">Newer', html)
    assert read_questions(shown(admin_client, row, before=newer[1])) == [3, 4, 5]
    for odd in ("x", "-1", "9" * 30, ""):
        assert "question 8" in shown(admin_client, row, before=odd)


def test_a_page_ends_where_it_has_enough_items(admin_client, alice, monkeypatch):
    monkeypatch.setattr(thread_page, "PAGE_ITEMS", 5)
    row = create_conversation(alice.user, 6)
    html = shown(admin_client, row)
    assert read_questions(html) == [5, 6]
    assert "?before=5#thread" in html


def test_a_turn_with_very_many_items_shows_its_ends_and_all_of_them_by_pages(
    admin_client, alice, monkeypatch
):
    monkeypatch.setattr(thread_page, "SINGLE_TURN_ITEMS", 50)
    row = create_conversation(alice.user)
    turn = row.turns.get()
    items = [create_item(turn, f"step {number}.", role="user") for number in range(100)]
    html = shown(admin_client, row)
    assert "42 items in the middle of this turn are left out here" in html
    assert "step 0." in html
    assert "step 99." in html
    assert "step 30." not in html
    html = shown(admin_client, row, hit=items[30].pk)
    assert "step 30." in html
    seen, query = [], {"turn": 1}
    while True:
        html = shown(admin_client, row, **query)
        seen += re.findall(r">step (\d+)\.<", html)
        following = re.search(r'href="\?turn=1&amp;from=(\d+)#thread"', html)
        if following is None:
            break
        query = {"turn": 1, "from": following[1]}
    assert seen == [str(number) for number in range(100)]


def test_a_hit_is_on_the_page_and_marked_wherever_it_is(admin_client, alice, monkeypatch):
    monkeypatch.setattr(thread_page, "TURNS_SHOWN", 8)
    row = create_conversation(alice.user, 30)
    item = row.items.get(text="answer 10")
    html = shown(admin_client, row, hit=item.pk)
    assert f'is-hit" id="item-{item.pk}"' in html
    assert "answer 10" in html
    assert read_questions(html) == list(range(8, 16))


def test_very_long_texts_are_cut_and_the_page_says_so(admin_client, alice, monkeypatch):
    monkeypatch.setattr(item_view, "SHOWN_CHARS", 100)
    row = create_conversation(alice.user)
    create_item(row.turns.get(), "y" * 350, role="user")
    html = shown(admin_client, row)
    assert "y" * 100 in html
    assert "y" * 101 not in html
    assert "250 more characters" in html


def test_images_and_files_are_shown_by_their_names(admin_client, alice, monkeypatch):
    row = create_conversation(alice.user)
    content = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000},
        {"type": "input_image", "image_url": "https://pictures.example/cat.png"},
        {"type": "input_file", "file_id": "file-7", "filename": "report.pdf"},
    ]
    data = {"type": "message", "role": "user", "content": content}
    create_item(row.turns.get(), "Look", role="user", data=data)
    html = shown(admin_client, row)
    assert "image/png (2.9\xa0KB)" in html
    assert "https://pictures.example/cat.png" in html
    assert 'href="/admin/conversations/storedfile/file-7/change/">report.pdf' in html
    assert "AAAA" not in html
    assert "<img" not in html[html.index('id="thread"') :].split("</section>\n</section>")[0]
    monkeypatch.setattr(item_rows, "SMALL_DATA_CHARS", 1_000)
    monkeypatch.setattr(item_rows, "PAGE_DATA_CHARS", 2_000)
    assert "too large for this page" in shown(admin_client, row)


def test_thinking_that_the_caller_did_not_get_is_not_shown(admin_client, alice):
    row = create_conversation(alice.user)
    create_item(row.turns.get(), "an answer", role="assistant", output=True, hidden_thinking="psst")
    assert "psst" not in shown(admin_client, row)


def test_the_result_of_a_call_names_its_tool(admin_client, alice):
    row = create_conversation(alice.user)
    turn = row.turns.get()
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    create_item(turn, "weather({})", "function_call", output=True, data=call)
    result = {"type": "function_call_output", "call_id": "c1", "output": '{"sun": true}'}
    create_item(turn, '{"sun": true}', "function_call_output", data=result)
    html = shown(admin_client, row)
    assert re.search(r"result of\s*<code>weather</code>", html)
    assert "&quot;sun&quot;: true" in html


def test_the_cost_and_the_record_of_a_turn_are_linked(admin_client, alice):
    row = create_conversation(alice.user)
    turn = row.turns.get()
    UsageRecord.objects.create(
        pk=turn.pk,
        user=alice.user,
        started_at=timezone.now(),
        endpoint="chat/completions",
        model="kimi-k2",
        stream=False,
        status="complete",
        cost_micro_usd=1_500,
    )
    html = shown(admin_client, row)
    assert f'href="/admin/api/usagerecord/{turn.pk}/change/"' in html
    assert "$0.0015" in html
    assert f"/playground/?turn={turn.pk.hex}" in html


def test_a_page_of_many_turns_takes_few_queries(admin_client, alice, django_assert_max_num_queries):
    row = create_conversation(alice.user, 30)
    with django_assert_max_num_queries(24):
        shown(admin_client, row)
