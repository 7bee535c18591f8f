from conversations.messages.input_to_items import entries_from_input
from conversations.messages.items_to_chat import entries_to_messages


def test_the_input_of_a_response_becomes_messages():
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
        "id": "fc_1",
        "status": "completed",
    }
    messages = entries_to_messages(
        entries_from_input(
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
    assert messages == [
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
    assert entries_to_messages(entries_from_input("Hi")) == [{"role": "user", "content": "Hi"}]
