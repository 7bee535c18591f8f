import pytest

from conversations.upstream_calls.strategy_calls import prepend_instructions, wants_plain_text

USER = {"role": "user", "content": "Why?"}


def test_what_stands_at_the_head_becomes_one_system_message():
    parts = {"role": "developer", "content": [{"type": "text", "text": "In French."}]}
    late = {"role": "system", "content": "Stop now."}
    messages = [{"role": "system", "content": "Be brief."}, parts, USER, late]
    assert prepend_instructions(messages, "Think.") == [
        {"role": "system", "content": "Think.\n\nBe brief.\n\nIn French."},
        USER,
        late,
    ]
    assert prepend_instructions([parts, USER], "Think.")[0]["role"] == "developer"
    assert prepend_instructions([USER], "Think.") == [{"role": "system", "content": "Think."}, USER]


@pytest.mark.parametrize(
    ("body", "prose"),
    [
        ({}, True),
        ({"response_format": {"type": "text"}, "tools": []}, True),
        ({"response_format": None}, True),
        ({"tools": [{"type": "function"}]}, False),
        ({"response_format": {"type": "json_object"}}, False),
    ],
)
def test_what_asks_for_more_than_prose(body, prose):
    assert wants_plain_text(body) is prose
