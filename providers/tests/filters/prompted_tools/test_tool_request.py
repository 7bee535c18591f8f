"""Tools in words: what a model without tool calling is told."""

import json
from typing import Any

import pytest

from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.tool_request import rewrite_tool_request
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.tests.filters.prompted_tools.tool_bodies import (
    CLOCK,
    SCHEMA,
    USER,
    WEATHER,
    rewrite_body,
)


def read_prompt(**fields: Any) -> str:
    return str(rewrite_body(**fields)["messages"][0]["content"])


# --- tools ----------------------------------------------------------------------------------------
def test_the_fields_of_tools_leave_the_body_and_all_others_stay() -> None:
    fields = {
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "functions": None,
        "function_call": None,
    }
    assert rewrite_body(**fields, temperature=0.5).keys() == {"model", "messages", "temperature"}


def test_a_body_without_tools_and_calls_keeps_its_messages() -> None:
    assert rewrite_body(tools=None)["messages"] == [USER]
    assert rewrite_body(tools=[], functions=[])["messages"] == [USER]


def test_a_legacy_completion_keeps_its_prompt() -> None:
    assert rewrite_tool_request({"model": "m", "prompt": "Once"}) == {
        "model": "m",
        "prompt": "Once",
    }


def test_every_tool_is_told_with_name_description_and_whole_schema() -> None:
    text = read_prompt()
    schemas = [
        json.loads(line.removeprefix("Arguments: "))
        for line in text.splitlines()
        if line.startswith("Arguments: ")
    ]
    assert schemas == [SCHEMA, {"type": "object", "properties": {}}]
    assert "## weather\nTells it.\n" in text
    assert "## clock\n" in text
    assert "ä" in text  # not \u00e4


def test_nothing_of_a_long_description_is_cut() -> None:
    long = "".join(f"sentence {number}. " for number in range(5_000))
    deep: dict[str, Any] = {"type": "string", "description": long + "deep"}
    for _ in range(50):
        deep = {"type": "object", "properties": {"in": deep}}
    tool = {
        "type": "function",
        "function": {"name": "f", "description": long + "END", "parameters": deep},
    }
    text = read_prompt(tools=[tool])
    assert long + "END" in text
    assert long + "deep" in text
    assert text.index(long + "END") < text.index("<tool_call>")  # the form stands at the end, uncut


def test_the_form_that_is_asked_for_is_the_one_that_is_read() -> None:
    line = next(line for line in read_prompt().splitlines() if line.startswith("<tool_call>"))
    call = line.replace("NAME", "weather").replace('"PARAMETER": VALUE', '"city": "Graz"')
    scan = CallScanner({"weather": WEATHER["function"]})  # type: ignore[dict-item]
    assert scan.feed(call) + scan.finish_text() == [WrittenCall("weather", '{"city":"Graz"}')]


def test_the_words_go_behind_the_first_system_message() -> None:
    system = {"role": "system", "content": "Be kind.", "name": "boss"}
    first, second, third = rewrite_body(
        messages=[USER, system, {"role": "system", "content": "Second."}]
    )["messages"]
    assert first == USER
    assert second["name"] == "boss"
    assert second["content"].startswith("Be kind.\n\n# Tools")
    assert third == {"role": "system", "content": "Second."}


def test_a_developers_message_is_a_system_message() -> None:
    messages = rewrite_body(messages=[{"role": "developer", "content": "Be kind."}, USER])[
        "messages"
    ]
    assert [message["role"] for message in messages] == ["developer", "user"]
    assert messages[0]["content"].startswith("Be kind.\n\n# Tools")


def test_a_system_message_of_parts_gets_one_more() -> None:
    parts = [{"type": "text", "text": "Be kind."}]
    content = rewrite_body(messages=[{"role": "system", "content": parts}, USER])["messages"][0][
        "content"
    ]
    assert content[0] == parts[0]
    assert content[1]["text"].startswith("# Tools")


def test_without_a_system_message_there_is_a_new_one_in_front() -> None:
    messages = rewrite_body()["messages"]
    assert messages[0]["role"] == "system"
    assert messages[1:] == [USER]


# --- what is wished -------------------------------------------------------------------------------
def test_with_the_choice_none_no_tool_is_told() -> None:
    assert rewrite_body(tool_choice="none")["messages"] == [USER]


@pytest.mark.parametrize("choice", [None, "auto"])
def test_a_free_choice_is_no_demand(choice: str | None) -> None:
    assert tool_prompt.OPTIONAL_CALL_RULE in read_prompt(tool_choice=choice)
    assert "You must call" not in read_prompt(tool_choice=choice)


def test_a_demand_is_said() -> None:
    assert "You must call at least one of the tools now" in read_prompt(tool_choice="required")


def test_a_demand_for_one_tool_names_it_and_the_others_are_told_too() -> None:
    text = read_prompt(tool_choice={"type": "function", "function": {"name": "clock"}})
    assert "You must call the tool 'clock' and no other now" in text
    assert "## weather" in text
    assert tool_prompt.SINGLE_CALL_RULE in text


def test_only_allowed_tools_are_told() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    text = read_prompt(tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert "## weather" not in text
    assert "## clock" in text
    assert "You must call at least one" in text


def test_whether_several_calls_may_come_at_once_is_said() -> None:
    assert tool_prompt.PARALLEL_CALLS_RULE in read_prompt()
    assert tool_prompt.SINGLE_CALL_RULE in read_prompt(parallel_tool_calls=False)
    assert tool_prompt.PARALLEL_CALLS_RULE not in read_prompt(parallel_tool_calls=False)


def test_functions_and_function_call_are_tools_under_their_older_names() -> None:
    text = read_prompt(
        tools=None, functions=[WEATHER["function"]], function_call={"name": "weather"}
    )
    assert "## weather\nTells it." in text
    assert "You must call the tool 'weather'" in text


@pytest.mark.parametrize(
    ("fields", "demanded"),
    [
        ({}, False),
        ({"tool_choice": None}, False),
        ({"tool_choice": "auto"}, False),
        ({"tool_choice": "none"}, False),
        ({"tool_choice": "required"}, True),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, True),
        ({"function_call": {"name": "clock"}}, True),
        ({"function_call": "auto"}, False),
    ],
)
def test_what_demands_a_call(fields: dict[str, Any], demanded: bool) -> None:
    assert tool_prompt.may_require_call({"tools": [CLOCK], **fields}) is demanded
