"""The tools of a Messages body become those of a chat body."""

import pytest

from api.tests.messages.request.made_bodies import MARK, TOOL, convert


def test_tools_become_functions():
    strict = TOOL | {"name": "b", "type": "custom", "strict": True, "cache_control": MARK}
    body = convert(tools=[TOOL, strict, {"type": "bash_20250124", "name": "bash"}])
    first, second, bash = body["tools"]
    function = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
    assert first == {"type": "function", "function": function}
    assert second["function"]["strict"] is True
    assert second["cache_control"] == MARK
    assert bash["function"]["name"] == "bash"
    assert "command" in bash["function"]["parameters"]["properties"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_the_choice_of_tools_has_its_chat_form(choice, expected):
    choice = choice | {"disable_parallel_tool_use": True}
    body = convert(tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == expected
    assert body["parallel_tool_calls"] is False


def test_a_web_search_becomes_the_field_of_chat_completions():
    location = {"type": "approximate", "city": "Graz"}
    tool = {"type": "web_search_20250305", "name": "web_search", "user_location": location}
    body = convert(tools=[tool], tool_choice={"type": "tool", "name": "web_search"})
    assert "tools" not in body
    assert "tool_choice" not in body
    assert body["web_search_options"]["user_location"]["approximate"] == {"city": "Graz"}
