"""Names of namespaced and custom tools at chat upstreams (F1)."""

import re

import pytest

from conversations.messages.tool_names import CalledTool, ToolNames

CLOSE = CalledTool("function", "close_agent", "multi_agent_v1")
PATCH = CalledTool("custom", "apply_patch")


def test_a_namespaced_function_gets_one_name_that_leads_back():
    names = ToolNames([CLOSE])
    assert names.find_chat_name(CLOSE) == "multi_agent_v1__close_agent"
    assert names.find_tool("multi_agent_v1__close_agent") == CLOSE


def test_functions_without_a_namespace_keep_their_names():
    plain = CalledTool("function", "multi_agent_v1__close_agent")
    names = ToolNames([CLOSE, plain, PATCH])
    assert names.find_chat_name(plain) == plain.name
    assert names.find_chat_name(PATCH) == "apply_patch"
    assert names.find_chat_name(CLOSE) == "multi_agent_v1__close_agent_2"
    assert names.find_tool("multi_agent_v1__close_agent_2") == CLOSE


def test_tools_whose_joined_names_are_the_same_stay_apart():
    tools = [CalledTool("function", "c", "a__b"), CalledTool("function", "b__c", "a")]
    names = ToolNames(tools)
    chat_names = [names.find_chat_name(tool) for tool in tools]
    assert len(set(chat_names)) == 2
    assert [names.find_tool(name) for name in chat_names] == tools


@pytest.mark.parametrize(
    "tool",
    [
        CalledTool("function", "x" * 256, "mcp__files"),
        CalledTool("function", "read file.now", "mcp/files"),
        CalledTool("custom", "パッチ"),
        CalledTool("custom", "y" * 200),
    ],
)
def test_a_name_that_upstreams_refuse_is_replaced(tool):
    names = ToolNames([tool])
    chat_name = names.find_chat_name(tool)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", chat_name)
    assert names.find_tool(chat_name) == tool


def test_long_names_that_differ_at_their_ends_stay_apart():
    tools = [CalledTool("function", "x" * 100 + end, "n") for end in "ab"]
    names = ToolNames(tools)
    assert names.find_chat_name(tools[0]) != names.find_chat_name(tools[1])


def test_a_tool_that_is_no_longer_offered_has_its_usual_name():
    assert ToolNames().find_chat_name(CLOSE) == "multi_agent_v1__close_agent"


def test_a_name_that_nobody_offered_is_a_functions():
    assert ToolNames([CLOSE]).find_tool("weather") == CalledTool("function", "weather")
