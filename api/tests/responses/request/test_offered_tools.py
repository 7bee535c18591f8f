"""Tools that agents offer with every request, run here or not (F1)."""

from typing import Any

import orjson
import pytest

from api.responses.request import schema, tool_choice
from api.responses.request.to_chat import build_chat_body, build_input_messages, read_tool_names
from api.schemas import chat_request_body
from conversations.messages.tool_names import CalledTool
from providers.exceptions import CallerError
from providers.protocol.request import CHAT

SPAWN = {
    "type": "function",
    "name": "spawn_agent",
    "description": "Start one.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"task": {"type": "string"}}},
}
FUNCTION = {"type": "function", "name": "exec_command", "parameters": {"type": "object"}}
AGENTS = {
    "type": "namespace",
    "name": "multi_agent_v1",
    "description": "Sub-agents.",
    "tools": [SPAWN, {"type": "custom", "name": "note"}, {"type": "later_kind", "name": "x"}],
}
GRAMMAR = 'start: begin "x"+ end'
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}
HOSTED = [
    {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
    {"type": "image_generation", "output_format": "png"},
    {"type": "local_shell"},
    {"type": "shell"},
    {"type": "apply_patch"},
    {"type": "mcp", "server_label": "s", "server_url": "https://a.example"},
    {"type": "computer"},
    {"type": "computer_use_preview", "display_width": 1, "display_height": 1},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "programmatic_tool_calling"},
    {"type": "web_search", "external_web_access": False},
    {"type": "a_kind_of_next_year", "name": "x"},
]


def read(**fields: Any) -> dict[str, Any]:
    """Return the body, checked as for a model for which the gateway runs no tools."""
    body = schema.read_response_body(orjson.dumps({"model": "m", "input": "hi"} | fields))
    tool_choice.check_choice(body)
    return body


def refused(**fields: Any) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read(**fields)
    assert caught.value.shown_status == 400
    return caught.value


def chat_body(**fields: Any) -> dict[str, Any]:
    """The body for the upstream; the endpoint of chat completions accepts it, too."""
    body = read(**fields)
    built = build_chat_body(body, build_input_messages(body))
    return chat_request_body.read_request_body(CHAT, orjson.dumps(built))


def chat_tools(**fields: Any) -> list[dict[str, Any]]:
    tools = chat_body(**fields)["tools"]
    assert {tool["type"] for tool in tools} == {"function"}
    return [tool["function"] for tool in tools]


@pytest.mark.parametrize("tool", HOSTED, ids=lambda tool: str(tool["type"]))
def test_a_tool_that_cannot_run_here_is_left_out(tool: dict[str, Any]) -> None:
    built = chat_body(tools=[FUNCTION, tool])
    assert [one["function"]["name"] for one in built["tools"]] == ["exec_command"]
    assert "web_search_options" not in built
    alone = chat_body(tools=[tool], tool_choice="auto")
    assert alone.keys() == {"model", "messages"}


def test_the_tools_of_a_namespace_are_functions_with_names_of_their_own() -> None:
    names = [function["name"] for function in chat_tools(tools=[FUNCTION, AGENTS])]
    assert names == ["exec_command", "multi_agent_v1__spawn_agent", "multi_agent_v1__note"]
    spawn = chat_tools(tools=[AGENTS])[0]
    assert spawn == {
        "name": "multi_agent_v1__spawn_agent",
        "description": "Start one.",
        "parameters": SPAWN["parameters"],
        "strict": False,
    }
    found = read_tool_names(read(tools=[AGENTS])).find_tool("multi_agent_v1__spawn_agent")
    assert found == CalledTool("function", "spawn_agent", "multi_agent_v1")


def test_a_custom_tool_is_a_function_with_one_text_and_its_grammar_in_words() -> None:
    [function] = chat_tools(tools=[PATCH])
    assert function["name"] == "apply_patch"
    assert function["parameters"]["properties"].keys() == {"input"}
    assert function["parameters"]["properties"]["input"]["type"] == "string"
    assert function["parameters"]["required"] == ["input"]
    assert function["description"].startswith("Edits files.")
    assert "lark" in function["description"]
    assert GRAMMAR in function["description"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "spawn_agent"}, "multi_agent_v1__spawn_agent"),
        (
            {"type": "function", "name": "spawn_agent", "namespace": "multi_agent_v1"},
            "multi_agent_v1__spawn_agent",
        ),
        ({"type": "function", "name": "exec_command"}, "exec_command"),
    ],
)
def test_the_choice_of_a_tool_names_its_function(choice: dict[str, Any], expected: str) -> None:
    built = chat_body(tools=[FUNCTION, AGENTS, PATCH], tool_choice=choice)
    assert built["tool_choice"] == {"type": "function", "function": {"name": expected}}


def test_only_allowed_tools_go_up() -> None:
    allowed = [{"type": "custom", "name": "apply_patch"}, {"type": "namespace", "name": "nothing"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed[:1]}
    built = chat_body(tools=[FUNCTION, AGENTS, PATCH], tool_choice=choice)
    assert [tool["function"]["name"] for tool in built["tools"]] == ["apply_patch"]
    assert built["tool_choice"] == "required"
    error = refused(tools=[PATCH], tool_choice=choice | {"tools": allowed})
    assert error.param == "tool_choice.tools[1]"


@pytest.mark.parametrize(
    "tool", [tool for tool in HOSTED if tool["type"] != "web_search"], ids=lambda tool: tool["type"]
)
def test_a_choice_that_names_a_tool_which_cannot_run_is_refused(tool: dict[str, Any]) -> None:
    error = refused(tools=[FUNCTION, tool], tool_choice={"type": tool["type"]})
    assert (error.param, error.shown_code) == ("tool_choice", "unsupported_parameter")
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": tool["type"]}]}
    error = refused(tools=[FUNCTION, tool], tool_choice=choice)
    assert (error.param, error.shown_code) == ("tool_choice.tools[0]", "unsupported_parameter")


def test_a_call_cannot_be_required_when_no_tool_can_run() -> None:
    error = refused(tools=[{"type": "local_shell"}], tool_choice="required")
    assert (error.param, error.shown_code) == ("tool_choice", "unsupported_parameter")


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([FUNCTION, {"type": []}], "tools[1].type"),
        ([{"type": "custom"}], "tools[0].name"),
        ([{"type": "custom", "name": "x", "format": {"syntax": "lark"}}], "tools[0].format.type"),
        ([{"type": "namespace", "tools": []}], "tools[0].name"),
        ([{"type": "namespace", "name": "n"}], "tools[0].tools"),
        (
            [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}],
            "tools[0].tools[0].name",
        ),
        ([{"type": "namespace", "name": "n", "tools": [{"name": "f"}]}], "tools[0].tools[0].type"),
    ],
)
def test_a_wrong_tool_is_refused_by_its_place(tools: list[Any], param: str) -> None:
    assert refused(tools=tools).param == param


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_tools_that_come_with_the_input_are_offered_too(kind: str) -> None:
    item = {"type": kind, "role": "developer", "tools": [AGENTS, FUNCTION, {"type": "function"}]}
    items = [item, {"role": "user", "content": "hi"}]
    built = chat_body(input=items, tools=[FUNCTION])
    assert [tool["function"]["name"] for tool in built["tools"]] == [
        "exec_command",
        "multi_agent_v1__spawn_agent",
        "multi_agent_v1__note",
    ]
    assert built["messages"] == [{"role": "user", "content": "hi"}]


def test_the_tools_of_namespaces_count_for_the_limit(settings: Any) -> None:
    settings.TOOLS_LIMIT = 2
    assert refused(tools=[FUNCTION, AGENTS]).param == "tools"
