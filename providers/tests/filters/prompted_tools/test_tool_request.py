"""Tools and past calls in words: what a model without tool calling is told."""

import copy
import json
from typing import Any

import pytest

from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.tool_request import rewrite_tool_request
from providers.filters.prompted_tools.written_call import WrittenCall

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "-x": {"enum": ["ä", 1]}},
    "required": ["city"],
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
USER = {"role": "user", "content": "Hi", "name": "Ann"}


def told(**fields: Any) -> dict[str, Any]:
    """The body that goes down; the one given must not change, nor anything in it."""
    body = {"model": "m", "messages": [USER], "tools": [WEATHER, CLOCK]} | fields
    before = copy.deepcopy(body)
    found = rewrite_tool_request(body)
    assert body == before
    return found


def prompt(**fields: Any) -> str:
    return str(told(**fields)["messages"][0]["content"])


def made(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def past(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(messages=list(messages), tools=None, **fields)["messages"]
    return found


# --- tools ----------------------------------------------------------------------------------------
def test_the_fields_of_tools_leave_the_body_and_all_others_stay() -> None:
    fields = {
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "functions": None,
        "function_call": None,
    }
    assert told(**fields, temperature=0.5).keys() == {"model", "messages", "temperature"}


def test_a_body_without_tools_and_calls_keeps_its_messages() -> None:
    assert told(tools=None)["messages"] == [USER]
    assert told(tools=[], functions=[])["messages"] == [USER]


def test_a_legacy_completion_keeps_its_prompt() -> None:
    assert rewrite_tool_request({"model": "m", "prompt": "Once"}) == {
        "model": "m",
        "prompt": "Once",
    }


def test_every_tool_is_told_with_name_description_and_whole_schema() -> None:
    text = prompt()
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
    text = prompt(tools=[tool])
    assert long + "END" in text
    assert long + "deep" in text
    assert text.index(long + "END") < text.index("<tool_call>")  # the form stands at the end, uncut


def test_the_form_that_is_asked_for_is_the_one_that_is_read() -> None:
    line = next(line for line in prompt().splitlines() if line.startswith("<tool_call>"))
    call = line.replace("NAME", "weather").replace('"PARAMETER": VALUE', '"city": "Graz"')
    scan = CallScanner({"weather": WEATHER["function"]})  # type: ignore[dict-item]
    assert scan.feed(call) + scan.finish_text() == [WrittenCall("weather", '{"city":"Graz"}')]


def test_the_words_go_behind_the_first_system_message() -> None:
    system = {"role": "system", "content": "Be kind.", "name": "boss"}
    first, second, third = told(messages=[USER, system, {"role": "system", "content": "Second."}])[
        "messages"
    ]
    assert first == USER
    assert second["name"] == "boss"
    assert second["content"].startswith("Be kind.\n\n# Tools")
    assert third == {"role": "system", "content": "Second."}


def test_a_developers_message_is_a_system_message() -> None:
    messages = told(messages=[{"role": "developer", "content": "Be kind."}, USER])["messages"]
    assert [message["role"] for message in messages] == ["developer", "user"]
    assert messages[0]["content"].startswith("Be kind.\n\n# Tools")


def test_a_system_message_of_parts_gets_one_more() -> None:
    parts = [{"type": "text", "text": "Be kind."}]
    content = told(messages=[{"role": "system", "content": parts}, USER])["messages"][0]["content"]
    assert content[0] == parts[0]
    assert content[1]["text"].startswith("# Tools")


def test_without_a_system_message_there_is_a_new_one_in_front() -> None:
    messages = told()["messages"]
    assert messages[0]["role"] == "system"
    assert messages[1:] == [USER]


# --- what is wished -------------------------------------------------------------------------------
def test_with_the_choice_none_no_tool_is_told() -> None:
    assert told(tool_choice="none")["messages"] == [USER]


@pytest.mark.parametrize("choice", [None, "auto"])
def test_a_free_choice_is_no_demand(choice: str | None) -> None:
    assert tool_prompt.OPTIONAL_CALL_RULE in prompt(tool_choice=choice)
    assert "You must call" not in prompt(tool_choice=choice)


def test_a_demand_is_said() -> None:
    assert "You must call at least one of the tools now" in prompt(tool_choice="required")


def test_a_demand_for_one_tool_names_it_and_the_others_are_told_too() -> None:
    text = prompt(tool_choice={"type": "function", "function": {"name": "clock"}})
    assert "You must call the tool 'clock' and no other now" in text
    assert "## weather" in text
    assert tool_prompt.SINGLE_CALL_RULE in text


def test_only_allowed_tools_are_told() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    text = prompt(tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert "## weather" not in text
    assert "## clock" in text
    assert "You must call at least one" in text


def test_whether_several_calls_may_come_at_once_is_said() -> None:
    assert tool_prompt.PARALLEL_CALLS_RULE in prompt()
    assert tool_prompt.SINGLE_CALL_RULE in prompt(parallel_tool_calls=False)
    assert tool_prompt.PARALLEL_CALLS_RULE not in prompt(parallel_tool_calls=False)


def test_functions_and_function_call_are_tools_under_their_older_names() -> None:
    text = prompt(tools=None, functions=[WEATHER["function"]], function_call={"name": "weather"})
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


# --- history --------------------------------------------------------------------------------------
def test_past_calls_become_text_that_reads_as_the_same_calls() -> None:
    nested = '{"city": {"a": ["}", "\\"", {"b": null}]}}'
    assistant = {
        "role": "assistant",
        "content": "Let me see.",
        "name": "Bob",
        "tool_calls": [made("weather", nested), made("clock", "", "call_2")],
    }
    (message,) = past(assistant)
    assert message.keys() == {"role", "content", "name"}
    assert message["content"].startswith("Let me see.\n\n<tool_call>")
    assert '"id": "call_1"' in message["content"]
    assert '"id": "call_2"' in message["content"]
    scan = CallScanner({"weather": {}, "clock": {}})
    said, *calls = scan.feed(message["content"]) + scan.finish_text()
    assert said == "Let me see.\n\n"
    assert [
        (call.name, json.loads(call.arguments)) for call in calls if isinstance(call, WrittenCall)
    ] == [
        ("weather", json.loads(nested)),
        ("clock", {}),
    ]


@pytest.mark.parametrize("broken", ['{"city": ', "not JSON", "[1]", '"text"'])
def test_broken_arguments_of_the_past_stay_readable(broken: str) -> None:
    (message,) = past(
        {"role": "assistant", "content": None, "tool_calls": [made("weather", broken)]}
    )
    inner = json.loads(message["content"].removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert inner == {"name": "weather", "arguments": broken, "id": "call_1"}


def test_a_result_bears_the_name_of_its_tool_and_its_id() -> None:
    first, second = past(
        {"role": "assistant", "content": None, "tool_calls": [made("weather", "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain, 7 °C"},
    )
    assert first["role"] == "assistant"
    assert second == {
        "role": "user",
        "content": '<tool_result name="weather" id="call_1">\nRain, 7 °C\n</tool_result>',
    }


def test_results_that_follow_each_other_are_one_message_in_their_order() -> None:
    messages = past(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [made("weather", "{}", "a"), made("clock", "{}", "b")],
        },
        {"role": "tool", "tool_call_id": "b", "content": "noon"},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        USER,
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
    )
    assert [message["role"] for message in messages] == ["assistant", "user", "user", "user"]
    assert messages[1]["content"] == (
        '<tool_result name="clock" id="b">\nnoon\n</tool_result>\n\n'
        '<tool_result name="weather" id="a">\nrain\n</tool_result>'
    )
    assert messages[2] == USER
    assert "sun" in messages[3]["content"]


def test_an_id_that_is_used_again_means_the_last_call_before_its_result() -> None:
    messages = past(
        {"role": "assistant", "content": None, "tool_calls": [made("weather", "{}", "a")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": None, "tool_calls": [made("clock", "{}", "a")]},
        {"role": "tool", "tool_call_id": "a", "content": "2"},
    )
    assert 'name="weather"' in messages[1]["content"]
    assert 'name="clock"' in messages[3]["content"]


def test_a_result_without_its_call_is_kept() -> None:
    (message,) = past({"role": "tool", "tool_call_id": "x", "content": "42"})
    assert message["content"] == '<tool_result name="unknown" id="x">\n42\n</tool_result>'


def test_calls_and_results_of_the_older_kind_are_told_too() -> None:
    first, second = past(
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "weather", "arguments": '{"city":"Graz"}'},
        },
        {"role": "function", "name": "weather", "content": "rain"},
    )
    assert (
        first["content"]
        == '<tool_call>{"name": "weather", "arguments": {"city":"Graz"}}</tool_call>'
    )
    assert "function_call" not in first
    assert second["content"] == '<tool_result name="weather">\nrain\n</tool_result>'


def test_parts_of_a_result_become_text_and_images_stay() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    texts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    (plain,) = past({"role": "tool", "tool_call_id": "x", "content": texts})
    assert "one\ntwo" in plain["content"]
    (mixed,) = past(
        {"role": "tool", "tool_call_id": "x", "content": [*texts, image]},
        {"role": "tool", "tool_call_id": "y", "content": "three"},
    )
    assert image in mixed["content"]
    assert [part["type"] for part in mixed["content"]] == [
        "text",
        "text",
        "text",
        "image_url",
        "text",
        "text",
    ]
    assert "three" in mixed["content"][-1]["text"]


def test_an_assistants_parts_stay_before_its_calls() -> None:
    parts = [{"type": "text", "text": "Let me see."}]
    (message,) = past({"role": "assistant", "content": parts, "tool_calls": [made("clock", "{}")]})
    assert message["content"][0] == parts[0]
    assert message["content"][1]["text"].startswith("<tool_call>")
