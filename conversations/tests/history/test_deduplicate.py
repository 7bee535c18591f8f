"""What a client repeats of a conversation is recognised, and nothing else is."""

import uuid

import pytest

from conversations.history import deduplicate
from conversations.history.context import ItemRow
from conversations.messages import chat_to_items


def said(*texts):
    """Entries of user and assistant in turns."""
    roles = ("user", "assistant")
    return chat_to_items.entries_from_messages(
        [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    )


def log(*texts):
    """Items of turns of a question and an answer each."""
    turns = [uuid.uuid4() for _ in range(len(texts) // 2 + 1)]
    return [
        ItemRow(
            turn_id=turns[at // 2],
            type=entry.type,
            role=entry.role,
            status="completed",
            received_digest="",
            text=entry.text,
            data=entry.data,
            output=at % 2 == 1,
        )
        for at, entry in enumerate(said(*texts))
    ]


def heard(known, told):
    many = len(told)
    return deduplicate.find_new_items(known[-many:], known[:many], told)


@pytest.mark.parametrize(
    ("known", "told", "new"),
    [
        ((), ("1",), ("1",)),
        (("1", "one"), ("1", "one", "2"), ("2",)),
        (("1", "one", "2", "two"), ("2", "two", "3"), ("3",)),
        (("1", "one"), ("2",), ("2",)),
        (("1", "one"), ("1",), ("1",)),  # the same question again
        (
            ("1", "one"),
            ("1", "uno", "2"),
            ("1", "uno", "2"),
        ),  # another conversation: nothing of it is known
        (("1", "one", "1", "one"), ("1", "one", "1", "one", "1"), ("1",)),
        (("1", "one", "2"), ("1", "one", "2", "two", "3"), ("two", "3")),
        (
            ("1", "5"),
            ("1", "And twenty minus five is 15", "2"),
            ("1", "And twenty minus five is 15", "2"),
        ),
    ],
)
def test_only_what_is_new_is_taken_from_what_a_client_tells(known, told, new):
    found = heard(log(*known), said(*told))
    assert ([entry.text for entry in found.entries], found.continues_after) == (list(new), None)


@pytest.mark.parametrize(
    ("known", "told", "new", "kept"),
    [
        (
            ("1", "one", "2", "two"),
            ("1", "one", "2"),
            ("2",),
            1,
        ),  # the last answer is to be made anew
        (("1", "one", "2", "two"), ("1", "one", "2b"), ("2b",), 1),  # the last question was changed
        (("1", "one", "2", "two", "3", "three"), ("1", "one", "2b"), ("2b",), 1),
        (("1", "one", "2", "two", "3", "three"), ("1", "one", "2", "two", "3b"), ("3b",), 3),
    ],
)
def test_who_goes_back_to_an_older_turn_leaves_the_later_ones_behind(known, told, new, kept):
    rows = log(*known)
    found = heard(rows, said(*told))
    assert ([entry.text for entry in found.entries], found.continues_after) == (
        list(new),
        rows[kept].turn_id,
    )


def test_an_answer_that_was_told_with_more_in_front_is_recognised():
    rows = log("1", "one")
    rows[1].received_digest = deduplicate.hash_text("Step 1\n\none")
    assert [entry.text for entry in heard(rows, said("1", "Step 1\n\none", "2")).entries] == ["2"]
    assert len(heard(rows, said("1", "one", "2")).entries) == 3


def test_instructions_and_thinking_do_not_hide_what_repeats():
    thought = chat_to_items.entries_from_messages(
        [{"role": "assistant", "content": "one", "reasoning_content": "hm"}]
    )
    told = [
        *chat_to_items.entries_from_messages([{"role": "system", "content": "T"}]),
        *said("1"),
        *thought,
        *said("2"),
    ]
    assert [entry.text for entry in heard(log("1", "one"), told).entries] == ["2"]


def test_of_a_thousand_equal_messages_each_is_compared_a_few_times():
    compared = []

    class Mark(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(self)
            return str.__eq__(self, other)

        def __ne__(self, other):
            compared.append(self)
            return str.__ne__(self, other)

    told, known = ([Mark("x") for _ in range(1_000)] for _ in range(2))
    assert deduplicate.measure_overlap([*told[1:], Mark("y")], known) == 999
    assert deduplicate.measure_overlap(told, [*known[1:], Mark("z")]) == 0
    assert 0 < len(compared) <= 2 * 8_000  # each with each would be 500,000
