from conversations.messages import chat_to_items, items_to_chat
from conversations.stored.stored_answer import render_answer

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}}


def test_a_stored_answer_is_the_message_that_its_caller_got():
    answer = {
        "role": "assistant",
        "content": "Yes.",
        "refusal": "But no more.",
        "reasoning_content": "Hm.",
        "tool_calls": [CALL, CUSTOM],
    }
    assert render_answer(chat_to_items.entries_from_messages([answer])) == answer


def test_a_call_that_was_cut_off_is_shown_to_its_caller_and_not_told_to_an_upstream():
    entries = chat_to_items.entries_from_messages(
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    )
    entries[0].status = "incomplete"
    assert render_answer(entries)["tool_calls"] == [CALL]
    assert items_to_chat.entries_to_messages(entries) == []


def test_an_answer_of_nothing_has_neither_text_nor_refusal():
    assert render_answer([]) == {"role": "assistant", "content": None, "refusal": None}
