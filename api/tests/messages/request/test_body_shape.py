"""Wrong Messages bodies are refused with the field."""

import orjson
import pytest

from api.messages.error_envelope import describe_error
from api.messages.request.body_shape import read_messages_body
from providers.exceptions import InvalidRequest

HELLO = {"role": "user", "content": "Hello!"}


def find_fault(**fields):
    """Return the message of the refusal."""
    body = {"model": "m", "max_tokens": 2048, "messages": [HELLO]} | fields
    kept = {name: value for name, value in body.items() if value is not ...}
    with pytest.raises(InvalidRequest) as caught:
        read_messages_body(orjson.dumps(kept))
    return describe_error(caught.value)


def block(**fields):
    return [{"role": "user", "content": [{"type": "text", "text": "a"}, fields]}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"model": ...}, "model: Field required"),
        ({"messages": ...}, "messages: Field required"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": block(type="text")}, "messages.0.content.1.text: Field required"),
        ({"messages": block(text="x")}, "messages.0.content.1.type: Field required"),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
        (
            {"tools": [{"name": "a", "input_schema": {}}], "tool_choice": {"type": "tool"}},
            "tool_choice.name: Field required",
        ),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 100}},
            "thinking.budget_tokens: A budget has at least 1024 tokens.",
        ),
    ],
)
def test_the_field_stands_before_the_fault(fields, message):
    assert find_fault(**fields) == message


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [HELLO | {"role": "tool"}]}, "messages.0.role"),
        ({"messages": block(type="odd")}, "messages.0.content.1.type"),
        ({"messages": block(type="thinking", thinking="x")}, "messages.0.content.1.type"),
        (
            {"messages": block(type="image", source={"type": "x"})},
            "messages.0.content.1.source.type",
        ),
        (
            {"messages": block(type="image", source={"type": "url"})},
            "messages.0.content.1.source.url",
        ),
        (
            {"messages": block(type="image", source={"type": "base64", "data": "AA"})},
            "messages.0.content.1.source.media_type",
        ),
        ({"system": [{"type": "image"}]}, "system.0.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "max_tokens"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        (
            {
                "tools": [{"name": "a", "input_schema": {}}],
                "tool_choice": {"type": "tool", "name": "b"},
            },
            "tool_choice.name",
        ),
        ({"tools": [{"name": "a", "input_schema": {}}] * 2}, "tools.1.name"),
    ],
)
def test_a_wrong_field_is_named(fields, place):
    assert find_fault(**fields).startswith(f"{place}: ")
