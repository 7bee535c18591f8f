"""Exports: everything that is a user's, in order, readable by programs and by people."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from conversations.models import Conversation, Item, Turn, TurnStatus
from conversations.stored import conversation_export
from conversations.tests.answered_turns import create_conversation, create_item

pytestmark = pytest.mark.usefixtures("transactional_db")


TURN_FIELDS = {
    "usage": {"total_tokens": 3},
    "extra_fields": {"steps": [{"title": "first", "content": "of all"}]},
}


def render_text(user, form):
    return b"".join(
        conversation_export.render_export(
            Conversation.objects.of_user(user.pk), conversation_export.EXPORT_FORMATS[form]
        )
    ).decode()


def read_records(user):
    return [json.loads(line) for line in render_text(user, "jsonl").splitlines()]


def test_lines_say_all_that_the_rows_say(alice):
    row = create_conversation(
        alice.user, turn_fields=TURN_FIELDS, title="Grüße\n", metadata={"a": "b"}
    )
    turn, items = row.turns.get(), list(row.items.order_by("pk"))
    head, request, asked, answered = read_records(alice.user)
    assert head["object"] == "conversation"
    assert (head["id"], head["title"], head["metadata"], head["kind"]) == (
        row.pk,
        "Grüße\n",
        {"a": "b"},
        "open",
    )
    assert (request["object"], request["id"], request["conversation_id"]) == (
        "turn",
        turn.pk.hex,
        row.pk,
    )
    assert (request["model"], request["usage"], request["extra_fields"]) == (
        turn.model,
        turn.usage,
        turn.extra_fields,
    )
    assert (asked["object"], asked["turn_id"], asked["output"]) == ("item", turn.pk.hex, False)
    assert asked["item"] == items[0].as_openai()
    assert answered["item"] == items[1].as_openai()


def test_everything_comes_once_and_in_order(alice, mallory, monkeypatch):
    monkeypatch.setattr(conversation_export, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(conversation_export, "CONVERSATIONS_AT_ONCE", 2)
    made = sorted(create_conversation(alice.user, turns).pk for turns in (7, 0, 3, 1, 4))
    create_conversation(mallory.user)
    create_conversation(alice.user, expires_at=timezone.now())
    found = read_records(alice.user)
    assert [line["id"] for line in found if line["object"] == "conversation"] == made
    expected = []
    for key in made:
        expected.append(("conversation", key))
        for turn in Turn.objects.filter(conversation=key).order_by("number"):
            expected += [
                ("turn", turn.pk.hex),
                *(("item", i.public_id) for i in turn.items.order_by("pk")),
            ]
    assert [(line["object"], line.get("id") or line["item"]["id"]) for line in found] == expected


def test_turns_without_items_are_not_left_out(alice):
    row = create_conversation(alice.user, 5)
    Item.objects.filter(turn__number__in=(1, 3, 5)).delete()
    shown = [(line["object"], line.get("number")) for line in read_records(alice.user)]
    turn, item = [("turn", n) for n in range(6)], ("item", None)
    assert shown == [
        ("conversation", None),
        turn[1],
        turn[2],
        item,
        item,
        turn[3],
        turn[4],
        item,
        item,
        turn[5],
    ]
    assert row.items.count() == 4


def test_a_big_conversation_is_read_some_rows_at_a_time(alice, django_assert_max_num_queries):
    create_conversation(alice.user, 45)
    pieces = conversation_export.render_export(
        Conversation.objects.of_user(alice.user.pk), conversation_export.EXPORT_FORMATS["jsonl"]
    )
    with django_assert_max_num_queries(16):
        assert sum(piece.count(b"\n") for piece in pieces) == 1 + 45 * 3


def test_pieces_are_bounded(alice, monkeypatch):
    monkeypatch.setattr(conversation_export, "PIECE_BYTES", 1_000)
    create_conversation(alice.user, 20)
    pieces = list(
        conversation_export.render_export(
            Conversation.objects.of_user(alice.user.pk), conversation_export.EXPORT_FORMATS["jsonl"]
        )
    )
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 3_000


def test_markdown_is_for_people(alice):
    row = create_conversation(alice.user, title="About\nbirds")
    turn = row.turns.get()
    create_item(turn, "hm", "reasoning", output=True)
    create_item(turn, "sing(```)", "function_call", output=True)
    Item.objects.create(
        public_id="msg_x",
        conversation=row,
        turn=turn,
        type="message",
        role="assistant",
        text="cut",
        data={},
        status=TurnStatus.INCOMPLETE,
    )
    Turn.objects.filter(pk=turn.pk).update(status=TurnStatus.INCOMPLETE)
    text = render_text(alice.user, "markdown")
    assert text.startswith(f"# About birds\n\n`{row.pk}`, begun 2")
    assert "## 1\n\n" in text
    assert (
        "`kimi-k2`, **incomplete**\n\n### user\n\nquestion 1\n\n### assistant\n\nanswer 1\n\n"
        in text
    )
    assert "<details><summary>reasoning</summary>\n\nhm\n\n</details>" in text
    assert "### function call\n\n````\nsing(```)\n````" in text
    assert "### assistant (incomplete)\n\ncut\n" in text


# --- the command ----------------------------------------------------------------------------------
def test_the_command_prints_or_writes_a_private_file(alice, tmp_path):
    create_conversation(alice.user, title="Grüße")
    out, path = StringIO(), tmp_path / "a.jsonl"
    call_command("export_conversations", "alice", stdout=out)
    call_command("export_conversations", "alice", "--output", str(path))
    assert out.getvalue() == path.read_text() == render_text(alice.user, "jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    out = StringIO()
    call_command("export_conversations", "alice", "--format", "markdown", stdout=out)
    assert out.getvalue().startswith("# Grüße")


def test_the_commands_mistakes_are_one_line(alice, tmp_path):
    with pytest.raises(CommandError, match="There is no user 'bob'"):
        call_command("export_conversations", "bob")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(CommandError, match=r"Cannot write .*exists"):
        call_command("export_conversations", "alice", "--output", str(tmp_path / "there"))
    assert (tmp_path / "there").read_text() == "mine"
