"""Chat bodies made of Messages bodies are rewritten for services of other dialects."""

import copy

import pytest

from providers.dialects import find_dialect, rewrite_chat_body, rewrite_marked_body
from providers.protocol.dialect import Dialect

MARK = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "Brief."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
DETAILS = [{"type": "reasoning.text", "text": "Hm", "signature": "s"}]
BODY = {
    "messages": [
        {"role": "system", "content": [TEXT | {"cache_control": MARK}, TEXT]},
        {"role": "user", "content": [TEXT, IMAGE | {"cache_control": MARK}]},
        {
            "role": "assistant",
            "content": "Hi",
            "reasoning_content": "Hm",
            "reasoning_details": DETAILS,
            "cache_control": MARK,
        },
    ],
    "tools": [{"type": "function", "function": {"name": "a"}, "cache_control": MARK}],
    "thinking": {"type": "adaptive"},
    "reasoning_effort": "xhigh",
}


def rewrite(dialect):
    body = copy.deepcopy(BODY)
    rewrite_marked_body(body, dialect)
    return body


def test_a_service_of_which_nothing_is_known_gets_no_marks():
    body = rewrite(Dialect())
    rewrite_chat_body(body, Dialect())
    assert body == {
        "messages": [
            {"role": "system", "content": "Brief.\n\nBrief."},
            {"role": "user", "content": [TEXT, IMAGE]},
            {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"},
        ],
        "tools": [{"type": "function", "function": {"name": "a"}}],
        "reasoning_effort": "high",
    }


def test_openrouter_gets_marks_and_efforts_as_they_are():
    body = rewrite(find_dialect("openrouter", "", "anthropic/claude"))
    expected = copy.deepcopy(BODY)
    del expected["thinking"]
    assert body == expected


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("adaptive", "enabled"), ("enabled", "enabled"), ("disabled", "disabled")],
)
def test_a_switch_of_thinking_is_sent_where_there_is_one(asked, sent):
    body = {"messages": [], "thinking": {"type": asked, "budget_tokens": 2048}}
    rewrite_marked_body(body, find_dialect("moonshot", "", "kimi-k2"))
    assert body["thinking"] == {"type": sent}


def test_messages_that_are_rewritten_stay_as_they_were_for_other_attempts():
    messages = copy.deepcopy(BODY["messages"])
    rewrite_marked_body({"messages": messages}, Dialect())
    assert messages == BODY["messages"]
