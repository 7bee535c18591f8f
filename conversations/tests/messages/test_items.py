"""Chat messages and items of the log: nothing is lost on the way there and back."""

import pytest

from conversations.messages import items
from conversations.messages.items import Entry

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
    assert items.entries_to_messages(items.entries_from_messages(messages)) == messages


def test_thinking_goes_along_only_where_tools_are_called():
    messages = [{"role": "assistant", "content": "Yes.", "reasoning_content": "hm"}]
    entries = items.entries_from_messages(messages)
    assert [(entry.type, entry.text) for entry in entries] == [
        ("reasoning", "hm"),
        ("message", "Yes."),
    ]
    assert items.entries_to_messages(entries) == [{"role": "assistant", "content": "Yes."}]


def test_an_answer_that_was_cut_says_so_and_an_empty_one_is_left_out():
    said = items.entries_from_messages([{"role": "assistant", "content": "Once upon"}])[0]
    said.status = "incomplete"
    assert items.entries_to_messages([said]) == [
        {"role": "assistant", "content": "Once upon" + items.CUT_NOTICE}
    ]
    call = items.entries_from_messages(
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    )[0]
    call.status = "incomplete"
    assert items.entries_to_messages([call]) == []


def test_the_input_of_a_response_becomes_messages():
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
        "id": "fc_1",
        "status": "completed",
    }
    found = items.entries_to_messages(
        items.entries_from_input(
            [
                {"role": "developer", "content": "Be kind."},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "Hi"}],
                },
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                },
                call,
                {"type": "function_call_output", "call_id": "c", "output": "42"},
                {"role": "assistant", "content": "It is 42."},
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "data:x", "detail": "high"}],
                },
            ]
        )
    )
    function = {"name": "f", "arguments": "{}"}
    assert found == [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "assistant", "content": "It is 42."},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:x", "detail": "high"}}],
        },
    ]
    assert items.entries_to_messages(items.entries_from_input("Hi")) == [
        {"role": "user", "content": "Hi"}
    ]


def test_what_no_database_can_store_is_replaced():
    entry = Entry(
        "message",
        "user",
        {"content": [{"text": "a\0b\ud800"}], "x": {"\0": [1, None, True]}},
        "a\0b\ud800",
    )
    clean = entry.make_storable()
    assert (clean.text, clean.data["content"][0]["text"]) == (
        "a\ufffdb\ufffd\ufffd\ufffd",
        "a\ufffdb\ufffd\ufffd\ufffd",
    )
    assert clean.data["x"] == {"\ufffd": [1, None, True]}
    whole = items.entries_from_messages([{"role": "user", "content": "Grüß Gott 🙂"}])[0]
    assert whole.make_storable() is whole
