"""Chunks folded into the parts of an answer: streamed and whole give the same items."""

import random

import pytest

from conversations.messages.answer_builder import Answer
from proxysite.testing import speech

REQUEST = "0" * 31 + "1"
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "one", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "two", "arguments": '{"b": "é"}'}},
]


def folded(*chunks):
    answer = Answer(REQUEST)
    answer.take(chunks)
    return answer


def shown(answer):
    return [(entry.type, entry.text, entry.status) for entry in answer.entries()]


def streamed(thought, text, calls=()):
    yield speech.chunk({"role": "assistant", "content": ""})
    for letter in thought:
        yield speech.chunk({"reasoning_content": letter})
    for letter in text:
        yield speech.chunk({"content": letter})
    for index, call in enumerate(calls):
        function = call["function"]
        head = {
            "index": index,
            "id": call["id"],
            "type": "function",
            "function": {"name": function["name"], "arguments": ""},
        }
        yield speech.chunk({"tool_calls": [head]})
    left = [
        [index, letter]
        for index, call in enumerate(calls)
        for letter in call["function"]["arguments"]
    ]
    mixed = sorted(left, key=lambda _: random.Random(1).random()) if not calls else left
    for index, letter in mixed:
        yield speech.chunk({"tool_calls": [{"index": index, "function": {"arguments": letter}}]})
    yield speech.chunk(finish="tool_calls" if calls else "stop")


@pytest.mark.parametrize(
    ("thought", "text", "calls"),
    [("", "Hello.", ()), ("hm", "Yes 🙂", ()), ("", "", CALLS), ("hm", "I look.", CALLS)],
)
def test_a_streamed_answer_is_the_whole_one(thought, text, calls):
    message = {"reasoning_content": thought or None, "tool_calls": list(calls) or None}
    whole = speech.completion(
        text or None, message=message, finish="tool_calls" if calls else "stop"
    )
    one, other = folded(*streamed(thought, text, calls)), folded(whole)
    assert [entry.data for entry in one.entries()] == [entry.data for entry in other.entries()]
    assert [part.id for part in one.parts] == [part.id for part in other.parts]
    assert one.finish_reason == other.finish_reason == ("tool_calls" if calls else "stop")


def test_calls_that_come_in_turns_are_told_apart():
    pieces = [
        {"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"name": "one", "arguments": "{"}},
        {"index": 1, "function": {"arguments": "}"}},
        {"index": 0, "function": {"arguments": '"x":1}'}},
    ]
    answer = folded(*(speech.chunk({"tool_calls": [piece]}) for piece in pieces))
    assert [(part.call_id, part.name, "".join(part.arguments)) for part in answer.parts] == [
        ("b", "two", "{}"),
        ("a", "one", '{"x":1}'),
    ]


def test_an_answer_that_broke_off_ends_with_an_incomplete_item():
    answer = folded(speech.chunk({"reasoning_content": "hm"}), speech.chunk({"content": "Once"}))
    assert [entry.status for entry in answer.entries(whole=False)] == ["completed", "incomplete"]


def test_further_choices_stand_apart():
    answer = folded(speech.completion("One.", n=3))
    assert shown(answer) == [("message", "One.", "completed")]
    assert [choice["index"] for choice in answer.choices()] == [1, 2]
    assert answer.choices()[0]["message"]["content"] == "One."


def test_what_stands_beside_the_answer_is_kept():
    answer = folded(
        speech.chunk({"content": "a"}),
        speech.chunk(steps=[{"title": "Look"}], status={"state": "thinking"}),
    )
    assert answer.extras == {"steps": [{"title": "Look"}]}


def test_a_refusal_is_no_text():
    (entry,) = folded(
        speech.chunk({"refusal": "I "}), speech.chunk({"refusal": "won't."})
    ).entries()
    assert entry.data["content"] == [{"type": "refusal", "refusal": "I won't."}]
