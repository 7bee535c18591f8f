"""Fields that upstreams want back with their calls go through the log."""

from typing import Any

from conversations.messages.answer_builder import CollectedAnswer
from conversations.messages.chat_to_items import entries_from_message
from conversations.messages.items_to_chat import entries_to_messages

EXTRA = {"google": {"thought_signature": "c2ln"}}
FUNCTION = {"name": "f", "arguments": "{}"}
CALL = {"id": "c1", "type": "function", "function": FUNCTION}
SIGNED_CALL = CALL | {"extra_content": EXTRA}
CUSTOM_CALL = {"id": "c2", "type": "custom", "custom": {"name": "code", "input": "print(1)"}}
DETAILS = [{"type": "reasoning.text", "index": 0, "text": "I think", "signature": "s"}]


def make_chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def remember(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    """The chat messages that the next turn sends of an answer."""
    answer = CollectedAnswer("0" * 32)
    answer.add_chunks(chunks)
    return entries_to_messages(answer.make_entries())


def test_a_signature_of_a_streamed_call_comes_back_also_from_a_later_delta() -> None:
    first = {"index": 0, **CALL}
    later = {"index": 0, "extra_content": EXTRA}
    for parts in ([first | {"extra_content": EXTRA}], [first, later]):
        [message] = remember(*(make_chunk(tool_calls=[part]) for part in parts))
        assert message["tool_calls"] == [SIGNED_CALL]


def test_a_signature_of_a_whole_answer_and_of_a_callers_message_comes_back() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [SIGNED_CALL]}
    [remembered] = remember({"choices": [{"index": 0, "message": message}]})
    assert remembered == message
    assert entries_to_messages(entries_from_message(message)) == [message]


def test_a_call_without_extras_has_none() -> None:
    [message] = remember(make_chunk(tool_calls=[{"index": 0, **CALL}]))
    assert message["tool_calls"] == [CALL]


def test_details_of_thinking_come_back_with_the_calls_that_they_led_to() -> None:
    [message] = remember(
        make_chunk(reasoning="I ", reasoning_details=[DETAILS[0] | {"text": "I "}]),
        make_chunk(reasoning="think", reasoning_details=[DETAILS[0] | {"text": "think"}]),
        make_chunk(tool_calls=[{"index": 0, **CALL}]),
    )
    assert message["reasoning_details"] == DETAILS
    assert message["tool_calls"] == [CALL]
    [secret] = remember(make_chunk(reasoning_details=DETAILS, tool_calls=[{"index": 0, **CALL}]))
    assert secret["reasoning_details"] == DETAILS


def test_details_without_calls_are_not_kept() -> None:
    [message] = remember(make_chunk(content="Hi", reasoning_details=DETAILS))
    assert message == {"role": "assistant", "content": "Hi"}


def test_a_custom_call_comes_back_whole() -> None:
    name = {"name": "code", "input": "print("}
    first = {"index": 0, "id": "c2", "type": "custom", "custom": name}
    later = {"index": 0, "custom": {"input": "1)"}}
    [message] = remember(*(make_chunk(tool_calls=[part]) for part in (first, later)))
    assert message["tool_calls"] == [CUSTOM_CALL]


def test_a_message_beside_a_delta_is_not_text_twice() -> None:
    chunk = make_chunk(content="hi")
    chunk["choices"][0]["message"] = {"role": "assistant", "content": "hi"}
    [message] = remember(chunk)
    assert message["content"] == "hi"
