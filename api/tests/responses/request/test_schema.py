from typing import Any

import orjson
import pytest

from api.responses.request import input_items, schema, tool_choice
from providers.exceptions import CallerError, InvalidJson, UnknownUrl

FUNCTION = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object"},
    "strict": True,
    "description": "d",
}
SEARCH = {"type": "web_search", "search_context_size": "low"}
CALL = {
    "type": "function_call",
    "call_id": "c",
    "name": "f",
    "arguments": "{}",
    "id": "fc_1",
    "status": "completed",
}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "3"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
SPOKEN = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [
        {"type": "output_text", "text": "hi", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ],
}


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


# --- what is accepted and kept --------------------------------------------------------------------
FIELDS: dict[str, list[Any]] = {
    "background": [True, False, None],
    "conversation": ["conv_1", {"id": "conv_1"}, None],
    "include": [["message.output_text.logprobs", "reasoning.encrypted_content"], [], None],
    "input": ["", "hi", [], [{"role": "user", "content": "hi"}], [SPOKEN, THOUGHT, CALL, OUTPUT]],
    "instructions": ["be brief", "", None],
    "max_output_tokens": [1, 100_000, None],
    "max_tool_calls": [1, None],
    "metadata": [{}, {"a": "b"}, {"k" * 64: "v" * 512}, None],
    "parallel_tool_calls": [True, False, None],
    "previous_response_id": ["resp_1", None],
    "prompt_cache_key": ["k", None],
    "reasoning": [{"effort": "low", "summary": "auto"}, {"effort": None}, {"mode": "pro"}, None],
    "safety_identifier": ["s", None],
    "service_tier": ["auto", "flex", None],
    "store": [True, False, None],
    "temperature": [0, 2, 0.5, None],
    "text": [
        {"format": {"type": "text"}},
        {"verbosity": "low"},
        {"format": {"type": "json_object"}},
        None,
    ],
    "tool_choice": ["none", "auto", None],
    "tools": [[], [FUNCTION], [SEARCH], [{"type": "web_search_preview"}, FUNCTION], None],
    "top_logprobs": [0, 20, None],
    "top_p": [0, 1, None],
    "truncation": ["auto", "disabled", None],
    "user": ["u", None],
    "vendor_field": [{"any": ["thing"]}, None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FIELDS.items() for value in values]
)
def test_a_documented_field_is_accepted_and_kept_as_it_came(name: str, value: Any) -> None:
    assert read(**{name: value})[name] == value


@pytest.mark.parametrize("beginning", ["instructions", "previous_response_id", "conversation"])
def test_input_may_be_left_out_where_something_else_begins(beginning: str) -> None:
    assert "input" not in schema.read_response_body(orjson.dumps({"model": "m", beginning: "x"}))


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "f"},
        {"type": "web_search_preview"},
        {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
        },
    ],
)
def test_every_form_of_tool_choice_is_accepted(choice: Any) -> None:
    assert read(tools=[FUNCTION, SEARCH], tool_choice=choice)["tool_choice"] == choice


# --- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 3}, "input"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"truncation": "middle"}, "truncation"),
        ({"include": ["everything"]}, "include[0]"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"n": 2}, "n"),
        ({"conversation": ""}, "conversation"),
        ({"conversation": {}}, "conversation.id"),
        ({"conversation": "c", "previous_response_id": "r"}, "previous_response_id"),
        ({"background": True, "store": False}, "background"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "perhaps", "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "mcp", "server_label": "s"}, "tools": [FUNCTION]}, "tool_choice"),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": []}, "tools": [FUNCTION]},
            "tool_choice.mode",
        ),
        ({"tool_choice": {}, "tools": [FUNCTION]}, "tool_choice.type"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [FUNCTION, {"type": "function"}]}, "tools[1].name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        (
            {
                "tools": [{"type": "web_search", "filters": {"allowed_domains": ["a.b"]}}],
                "tool_choice": {"type": "web_search"},
            },
            "tools[0].filters",
        ),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        ({"input": [CALL, {**CALL, "arguments": {}}]}, "input[1].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"id": 5}]}, "input[0].id"),
        ({"input": [{"type": ["a"]}]}, "input[0].type"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    "name", ["messages", "max_tokens", "response_format", "reasoning_effort", "prompt", "audio"]
)
def test_a_field_of_chat_completions_is_refused_not_ignored(name: str) -> None:
    error = refused(**{name: "x"})
    assert (error.param, error.shown_code) == (name, "unsupported_parameter")


@pytest.mark.parametrize("field", ["api_base", "base_url", "api_key", "extra_headers"])
def test_a_field_that_would_choose_where_the_request_goes_is_refused(field: str) -> None:
    assert refused(**{field: "x"}).param == field


def test_nothing_to_say_is_refused() -> None:
    with pytest.raises(CallerError) as caught:
        schema.read_response_body(b'{"model": "m"}')
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"model": "m", "input": "a", "input": "b"}',
        b'{"model":"m","input":"a","x":1000000000000000000000000000000}',
        b"[" * 9_000,
    ],
)
def test_a_body_that_is_no_clean_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        schema.read_response_body(raw)


def test_a_nul_is_refused_with_its_place() -> None:
    with pytest.raises(CallerError) as caught:
        schema.read_response_body(rb'{"model":"m","input":[{"role":"user","content":"a\u0000b"}]}')
    assert caught.value.param == "input[0].content"


# --- references -----------------------------------------------------------------------------------
def test_references_are_found_and_replaced_by_the_items_they_mean() -> None:
    said = {"role": "user", "content": "and now?"}
    body = read(input=[{"type": "item_reference", "id": "msg_1"}, said, {"id": "fc_1"}])
    assert input_items.find_item_references(body) == {"input[0].id": "msg_1", "input[2].id": "fc_1"}
    found = input_items.resolve_item_references(
        body, {"msg_1": SPOKEN, "fc_1": CALL, "other": THOUGHT}
    )
    assert found["input"] == [SPOKEN, said, CALL]
    assert body["input"][0] == {"type": "item_reference", "id": "msg_1"}, "the body itself stays"


def test_a_reference_to_nothing_is_a_404_with_its_place() -> None:
    with pytest.raises(UnknownUrl) as caught:
        input_items.resolve_item_references(read(input=[{"id": "msg_2"}]), {"msg_1": SPOKEN})
    assert (caught.value.shown_status, caught.value.param) == (404, "input[0].id")


@pytest.mark.parametrize("given", ["hi", [{"role": "user", "content": "hi"}]])
def test_an_input_without_references_stays(given: Any) -> None:
    body = read(input=given)
    assert input_items.find_item_references(body) == {}
    assert input_items.resolve_item_references(body, {}) == body
