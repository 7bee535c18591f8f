"""Chat messages become items and messages again: nothing is lost on the way."""

import pytest

from conversations.messages.chat_to_items import entries_from_messages
from conversations.messages.items_to_chat import CUT_NOTICE, entries_to_messages

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"in": "Rome"}'},
}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hello"}],
        [{"role": "user", "content": "Hello", "name": "ann"}],
        [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}],
        [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {"type": "text", "text": "?"},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            }
        ],
        [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}],
        [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "refusal": "No."},
        ],
        [
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "hm",
                "tool_calls": [CALL, CALL | {"id": "2"}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {
                "role": "tool",
                "tool_call_id": "2",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": "Sunny."},
        ],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "x"}}],
            }
        ],
        [{"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}],
        [{"role": "user", "content": ""}],
    ],
)
def test_messages_come_back_as_they_were(messages):
    assert entries_to_messages(entries_from_messages(messages)) == messages


def test_thinking_goes_along_only_where_tools_are_called():
    messages = [{"role": "assistant", "content": "Yes.", "reasoning_content": "hm"}]
    entries = entries_from_messages(messages)
    assert [(entry.type, entry.text) for entry in entries] == [
        ("reasoning", "hm"),
        ("message", "Yes."),
    ]
    assert entries_to_messages(entries) == [{"role": "assistant", "content": "Yes."}]


def test_an_answer_that_was_cut_says_so_and_an_empty_one_is_left_out():
    answer = entries_from_messages([{"role": "assistant", "content": "Once upon"}])[0]
    answer.status = "incomplete"
    assert entries_to_messages([answer]) == [
        {"role": "assistant", "content": "Once upon" + CUT_NOTICE}
    ]
    call = entries_from_messages([{"role": "assistant", "content": None, "tool_calls": [CALL]}])[0]
    call.status = "incomplete"
    assert entries_to_messages([call]) == []
