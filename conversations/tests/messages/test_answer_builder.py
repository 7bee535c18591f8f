"""Chunks folded into the parts of an answer: streamed and whole give the same items."""

from itertools import zip_longest

import pytest

from conversations.messages.answer_builder import CollectedAnswer
from proxysite.testing import speech

REQUEST = "0" * 31 + "1"
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "one", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "two", "arguments": '{"b": "é"}'}},
]


def collect(*chunks):
    answer = CollectedAnswer(REQUEST)
    answer.add_chunks(chunks)
    return answer


def list_items(answer):
    return [(entry.type, entry.text, entry.status) for entry in answer.make_entries()]


def stream_chunks(thought, text, calls=()):
    yield speech.chat_chunk({"role": "assistant", "content": ""})
    for letter in thought:
        yield speech.chat_chunk({"reasoning_content": letter})
    for letter in text:
        yield speech.chat_chunk({"content": letter})
    for index, call in enumerate(calls):
        function = call["function"]
        head = {
            "index": index,
            "id": call["id"],
            "type": "function",
            "function": {"name": function["name"], "arguments": ""},
        }
        yield speech.chat_chunk({"tool_calls": [head]})
    argument_letters = [
        [(index, letter) for letter in call["function"]["arguments"]]
        for index, call in enumerate(calls)
    ]
    for letters in zip_longest(*argument_letters):  # the calls come in turns
        for index, letter in filter(None, letters):
            yield speech.chat_chunk(
                {"tool_calls": [{"index": index, "function": {"arguments": letter}}]}
            )
    yield speech.chat_chunk(finish="tool_calls" if calls else "stop")


@pytest.mark.parametrize(
    ("thought", "text", "calls"),
    [("", "Hello.", ()), ("hm", "Yes 🙂", ()), ("", "", CALLS), ("hm", "I look.", CALLS)],
)
def test_a_streamed_answer_is_the_whole_one(thought, text, calls):
    message = {"reasoning_content": thought or None, "tool_calls": list(calls) or None}
    whole = speech.chat_completion(
        text or None, message=message, finish="tool_calls" if calls else "stop"
    )
    one, other = collect(*stream_chunks(thought, text, calls)), collect(whole)
    assert [entry.data for entry in one.make_entries()] == [
        entry.data for entry in other.make_entries()
    ]
    assert [part.id for part in one.parts] == [part.id for part in other.parts]
    assert one.finish_reason == other.finish_reason == ("tool_calls" if calls else "stop")


def test_calls_that_come_in_turns_are_told_apart():
    pieces = [
        {"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"name": "one", "arguments": "{"}},
        {"index": 1, "function": {"arguments": "}"}},
        {"index": 0, "function": {"arguments": '"x":1}'}},
    ]
    answer = collect(*(speech.chat_chunk({"tool_calls": [piece]}) for piece in pieces))
    assert [(part.call_id, part.name, "".join(part.arguments)) for part in answer.parts] == [
        ("b", "two", "{}"),
        ("a", "one", '{"x":1}'),
    ]


def test_an_answer_that_broke_off_ends_with_an_incomplete_item():
    answer = collect(
        speech.chat_chunk({"reasoning_content": "hm"}), speech.chat_chunk({"content": "Once"})
    )
    assert [entry.status for entry in answer.make_entries(is_whole=False)] == [
        "completed",
        "incomplete",
    ]


def test_further_choices_stand_apart():
    answer = collect(speech.chat_completion("One.", n=3))
    assert list_items(answer) == [("message", "One.", "completed")]
    assert [choice["index"] for choice in answer.render_other_choices()] == [1, 2]
    assert answer.render_other_choices()[0]["message"]["content"] == "One."


def test_what_stands_beside_the_answer_is_kept():
    answer = collect(
        speech.chat_chunk({"content": "a"}),
        speech.chat_chunk(steps=[{"title": "Look"}], status={"state": "thinking"}),
    )
    assert answer.extra_fields == {"steps": [{"title": "Look"}]}


def test_a_refusal_is_no_text():
    (entry,) = collect(
        speech.chat_chunk({"refusal": "I "}), speech.chat_chunk({"refusal": "won't."})
    ).make_entries()
    assert entry.data["content"] == [{"type": "refusal", "refusal": "I won't."}]
