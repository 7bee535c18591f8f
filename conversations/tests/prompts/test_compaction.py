"""The transcript that a model sums up, and the summary that it gives."""

import pytest

from conversations.messages.input_to_items import entries_from_input
from conversations.messages.items_to_chat import CUT_NOTICE
from conversations.messages.opaque_text import encode_opaque_text
from conversations.prompts.compaction import (
    COMPACTION_PROMPT,
    make_compaction_messages,
    read_summary,
)
from providers.exceptions import BadResponse

ITEMS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/b.png"}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
    {"role": "assistant", "content": "Hello."},
    {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "+a"},
    {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    {"type": "compaction", "encrypted_content": encode_opaque_text("Tea was made.")},
    {"type": "compaction", "encrypted_content": "gAAAAA-of-another-service"},
    {"type": "agent_message", "author": "/root", "content": [{"type": "text", "text": "Go."}]},
    {"type": "web_search_call", "status": "completed"},
]


def make_answer(content: object, finish_reason: str = "stop") -> dict[str, object]:
    return {"choices": [{"message": {"content": content}, "finish_reason": finish_reason}]}


def test_each_item_with_a_text_stands_under_who_said_it() -> None:
    system, transcript = make_compaction_messages(entries_from_input(ITEMS))
    assert system == {"role": "system", "content": COMPACTION_PROMPT}
    assert transcript["content"].split("\n\n") == [
        "Transcript:",
        "Instructions:\nBe brief.",
        "User:\nHi",
        "Assistant:\nHello.",
        "Assistant calls a tool:\npatch(+a)",
        "Output of the tool:\ndone",
        "Summary of the conversation before:\nTea was made.",
        "Another agent:\nMessage from /root:\nGo.",
    ]


def test_instructions_of_the_request_stand_behind_the_prompt() -> None:
    instructions = [
        {"role": "system", "content": "Keep names."},
        {"role": "system", "content": [{"type": "text", "text": "In German."}]},
    ]
    messages = make_compaction_messages(entries_from_input("Hi"), instructions)
    assert messages[0]["content"].endswith(
        "Instructions of the caller:\n\nKeep names.\n\nIn German."
    )


def test_items_without_a_text_give_no_messages() -> None:
    assert make_compaction_messages(entries_from_input([ITEMS[2], ITEMS[3], ITEMS[10]])) == []


def test_a_summary_is_the_text_of_the_answer_and_says_if_it_was_cut() -> None:
    assert read_summary(make_answer(" Tea. ")) == "Tea."
    assert read_summary(make_answer([{"type": "text", "text": "Tea."}])) == "Tea."
    assert read_summary(make_answer("Te", "length")) == f"Te{CUT_NOTICE}"


@pytest.mark.parametrize("answer", [make_answer(None), make_answer(" "), {"choices": []}])
def test_an_answer_without_text_is_an_error_of_the_upstream(answer: dict[str, object]) -> None:
    with pytest.raises(BadResponse):
        read_summary(answer)
