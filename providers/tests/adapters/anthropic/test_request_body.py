"""The fields of a chat body as those of the Messages API, by family of models."""

import pytest

from providers.adapters.anthropic.model_families import OTHER_MODELS, find_family
from providers.adapters.anthropic.request_body import build_messages_body, find_left_out
from providers.exceptions import Rejected
from providers.protocol.request import UpstreamModel
from providers.tests.adapters.anthropic.message_calls import USER, build_body, make_request

ADAPTIVE = {"type": "adaptive"}
SHOWN = {"type": "adaptive", "display": "summarized"}
OFF = {"type": "disabled"}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "g", "description": "G"}}


def make_budget(tokens):
    return {"type": "enabled", "budget_tokens": tokens}


# --- families -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "thinking", "most_tokens", "takes_sampling"),
    [
        ("claude-fable-5-2", "adaptive", 128_000, False),
        ("anthropic/claude-opus-5.5", "adaptive", 128_000, False),
        ("claude-haiku-5-5", "adaptive", 128_000, False),
        ("claude-opus-4-7", "adaptive", 128_000, False),
        ("claude-opus-4-6", "both", 128_000, True),
        ("claude-sonnet-4-6", "both", 64_000, True),
        ("claude-haiku-4-5-20251001", "budget", 64_000, True),
        ("claude-opus-4-1-20250805", "budget", 32_000, True),
        ("claude-3-7-sonnet-20250219", "budget", 64_000, True),
        ("claude-3-5-haiku-20241022", "", 8_192, True),
        ("claude-3-haiku-20240307", "", 4_096, True),
        ("claude-something-9", "adaptive", 128_000, False),
    ],
)
def test_models_are_known_by_their_names(model, thinking, most_tokens, takes_sampling):
    family = find_family(model)
    assert (family.thinking, family.most_output_tokens) == (thinking, most_tokens)
    assert family.takes_sampling is takes_sampling


def test_models_of_other_services_are_old_fashioned():
    assert find_family("deepseek-v4") is OTHER_MODELS


# --- thinking -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "wish", "thinking", "effort"),
    [
        ("claude-opus-5-5", {}, SHOWN, None),
        ("claude-opus-5-5", {"reasoning_effort": "minimal"}, SHOWN, "low"),
        ("claude-opus-5-5", {"thinking": make_budget(9_000)}, SHOWN, "high"),
        ("claude-opus-5-5", {"thinking": ADAPTIVE | {"display": "omitted"}}, None, None),
        ("claude-sonnet-5-5", {"reasoning_effort": "none"}, {"type": "between_tools"}, None),
        ("claude-haiku-5-5", {"thinking": OFF}, OFF, None),
        ("claude-opus-4-8", {}, None, None),
        ("claude-opus-4-8", {"reasoning_effort": "xhigh"}, SHOWN, "xhigh"),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, ADAPTIVE, "high"),
        ("claude-opus-4-6", {"thinking": make_budget(5_000)}, make_budget(5_000), None),
        ("claude-opus-4-6", {"thinking": True}, ADAPTIVE, None),
        ("claude-sonnet-4-5", {}, None, None),
        ("claude-sonnet-4-5", {"reasoning_effort": "low"}, make_budget(2_048), None),
        ("claude-sonnet-4-5", {"thinking": ADAPTIVE}, make_budget(8_192), None),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, OFF, None),
        ("claude-3-5-haiku-20241022", {"reasoning_effort": "high"}, None, None),
        ("kimi-k3", {"reasoning_effort": "medium"}, make_budget(8_192), None),
    ],
)
def test_wishes_of_thinking_are_written_as_the_model_takes_them(model, wish, thinking, effort):
    body = build_body(model=model, **wish)
    if wish.get("thinking", {}) == ADAPTIVE | {"display": "omitted"}:
        thinking = wish["thinking"]
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize("wish", [{"reasoning_effort": "none"}, {"thinking": OFF}])
def test_a_model_that_always_thinks_cannot_be_told_not_to(wish):
    with pytest.raises(Rejected) as raised:
        build_body(model="claude-opus-5-5", **wish)
    assert [raised.value.param] == list(wish)


def test_a_budget_leaves_room_for_the_answer_or_there_is_none():
    asked = {"model": "claude-sonnet-4-5", "reasoning_effort": "high"}
    assert build_body(max_tokens=4_000, **asked)["thinking"] == make_budget(3_000)
    assert "thinking" not in build_body(max_tokens=500, **asked)


def test_a_turn_that_began_without_thinking_goes_on_without():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "a", "content": "1"}
    asked = {"model": "claude-sonnet-4-5", "reasoning_effort": "high"}
    assert "thinking" not in build_body(USER, called, result, **asked)
    signed = {"type": "reasoning.text", "text": "A", "signature": "s"}
    assert "thinking" in build_body(USER, called | {"reasoning_details": [signed]}, result, **asked)


def test_the_row_may_say_how_much_to_think_and_the_body_goes_before_it():
    options = {"reasoning_effort": "low", "max_tokens": 700}
    body = build_body(options=options)
    assert (body["output_config"], body["max_tokens"]) == ({"effort": "low"}, 700)
    body = build_body(options=options, thinking=OFF, max_tokens=5)
    assert (body["thinking"], body["max_tokens"]) == (OFF, 5)


# --- tools ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "g"}}},
            {"type": "tool", "name": "g"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_tools_and_the_choice_among_them_are_translated(fields, choice):
    body = build_body(tools=[TOOL, OTHER], **fields)
    assert body["tools"] == [
        {"name": "f", "input_schema": PARAMETERS},
        {"name": "g", "description": "G", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body.get("tool_choice") == choice


def test_some_allowed_tools_are_all_that_is_sent():
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    body = build_body(tools=[TOOL, OTHER], tool_choice=choice)
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


def test_tools_of_the_past_are_defined_but_cannot_be_called():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = build_body(USER, called, {"role": "tool", "tool_call_id": "a", "content": "1"})
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_a_demanded_call_goes_before_thinking():
    body = build_body(tools=[TOOL], tool_choice="required", model="claude-opus-5")
    assert (body["tool_choice"], body["thinking"]) == ({"type": "any"}, OFF)
    asked = {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "high"}
    assert "thinking" not in build_body(model="claude-sonnet-4-5", **asked)


def test_a_model_that_cannot_be_forced_to_a_call_is_told_to_make_one():
    choice = {"type": "function", "function": {"name": "f"}}
    body = build_body(tools=[TOOL], tool_choice=choice, model="claude-opus-5-5")
    assert body["tool_choice"] == {"type": "auto"}
    assert body["system"] == [{"type": "text", "text": "Answer with a call of the tool f."}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {}}}, "tool_choice"),
    ],
)
def test_tools_that_anthropic_does_not_have_are_refused(fields, param):
    with pytest.raises(Rejected) as raised:
        build_body(**fields)
    assert raised.value.param == param


def test_a_tool_of_anthropics_own_stays_as_it_is():
    tool = {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 2}
    assert build_body(tools=[tool])["tools"] == [tool]


def test_a_web_search_is_a_tool_that_may_know_where_the_user_is():
    place = {"type": "approximate", "approximate": {"country": "FR", "city": None}}
    row = UpstreamModel("claude-opus-4-8", search="on")
    request = make_request(web_search_options={"user_location": place}, tools=[TOOL])
    search = build_messages_body(request, row)["tools"][1]
    assert search["name"] == "web_search"
    assert search["user_location"] == {"type": "approximate", "country": "FR"}
    assert build_messages_body(make_request(), row)["tools"] == [
        {"type": "web_search_20250305", "name": "web_search"}
    ]
    off = build_messages_body(request, UpstreamModel("claude-opus-4-8", search="off"))
    assert [tool["name"] for tool in off["tools"]] == ["f"]


def test_strict_tools_are_strict_where_the_model_can_be():
    strict = {"type": "function", "function": TOOL["function"] | {"strict": True}}
    (tool,) = build_body(tools=[strict])["tools"]
    assert (tool["strict"], tool["input_schema"]["additionalProperties"]) == (True, False)
    (tool,) = build_body(tools=[strict], model="claude-3-7-sonnet-20250219")["tools"]
    assert "strict" not in tool
    many = [
        {"type": "function", "function": {"name": f"f{each}", "strict": True}} for each in range(21)
    ]
    assert not any("strict" in tool for tool in build_body(tools=many)["tools"])


# --- the form of the answer -----------------------------------------------------------------------
def test_a_schema_is_closed_and_its_limits_are_described():
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "How many."},
            "list": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/x"}},
        },
        "$defs": {"x": {"type": "object", "properties": {}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    sent = build_body(response_format=wanted, reasoning_effort="low")["output_config"]
    assert sent["effort"] == "low"
    assert sent["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {
                "minimum": {"type": "integer", "description": "How many. (minimum: 1)"},
                "list": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/x"},
                    "description": "(maxItems: 3)",
                },
            },
            "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": False}},
            "additionalProperties": False,
        },
    }
    with pytest.raises(Rejected):
        build_body(response_format=wanted, model="claude-3-haiku-20240307")


def test_a_plain_object_is_asked_for_in_words():
    body = build_body(response_format={"type": "json_object"})
    assert "JSON object" in body["system"][0]["text"]
    assert "output_config" not in body


# --- sampling and small fields --------------------------------------------------------------------
def test_sampling_is_sent_to_models_that_take_it():
    asked = {"temperature": 1.5, "top_p": 0.5}
    assert build_body(**asked).keys() == {"model", "max_tokens", "messages"}
    body = build_body(model="claude-sonnet-4-5", **asked)
    assert (body["temperature"], "top_p" in body) == (1.0, False)
    body = build_body(model="claude-3-haiku-20240307", **asked)
    assert (body["temperature"], body["top_p"]) == (1.0, 0.5)
    body = build_body(model="claude-sonnet-4-5", reasoning_effort="low", **asked)
    assert not {"temperature", "top_p"} & body.keys()


def test_the_smaller_limit_counts():
    assert build_body(max_tokens=9, max_completion_tokens=5)["max_tokens"] == 5


def test_a_user_and_a_service_tier_are_passed_on():
    body = build_body(user="june", safety_identifier="hash", service_tier="default")
    assert (body["metadata"], body["service_tier"]) == ({"user_id": "hash"}, "standard_only")
    assert "metadata" not in build_body(user="x" * 300)


def test_left_out_fields_are_listed():
    asked = {
        "model": "m",
        "messages": [],
        "stop": " ",
        "user": "x" * 300,
        "seed": 1,
        "top_p": None,
        "n": 1,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
    }
    payload = {"model": "m", "messages": [], "max_tokens": 1}
    assert find_left_out(asked, payload) == ["reasoning_effort", "seed", "stop", "user"]
