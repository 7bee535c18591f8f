"""A body as its upstream takes it: roles, limits, refused fields, and thinking that goes back."""

import pytest

from providers.dialects import find_omitted_fields, rewrite_chat_body
from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject

TOOLS = [{"type": "function", "function": {"name": "f"}}]
USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def rewrite(dialect: Dialect, messages: list[JsonObject], **fields: object) -> JsonObject:
    body: JsonObject = {"model": "m", "messages": messages, **fields}
    rewrite_chat_body(body, dialect)
    return body


def answer(**fields: object) -> JsonObject:
    return {"role": "assistant", "content": "yes", **fields}


def rewrite_answer(dialect: Dialect, message: JsonObject, **fields: object) -> JsonObject:
    result: JsonObject = rewrite(dialect, [USER, message], **fields)["messages"][1]
    return result


# --- roles and names ------------------------------------------------------------------------------
def test_a_developer_message_is_a_system_message_for_most_upstreams() -> None:
    body = rewrite(Dialect(), [{"role": "developer", "content": "x", "name": "n"}, USER])
    assert body["messages"][0] == {"role": "system", "content": "x", "name": "n"}
    assert body["messages"][1] is USER


def test_an_upstream_that_knows_developers_gets_them() -> None:
    messages = [{"role": "developer", "content": "x"}, USER]
    assert rewrite(Dialect(knows_developer=True), messages)["messages"] == messages


def test_names_are_left_out_where_they_are_refused_but_not_those_of_tools() -> None:
    messages = [USER | {"name": "ann"}, {"role": "tool", "name": "f", "content": "1"}]
    body = rewrite(Dialect(takes_names=False), messages)
    assert body["messages"] == [USER, messages[1]]


def test_messages_that_need_no_change_are_sent_as_the_same_objects() -> None:
    messages = [{"role": "system", "content": "x"}, USER, answer(tool_calls=[CALL])]
    body = rewrite(Dialect(), messages, tools=TOOLS)
    assert all(sent is given for sent, given in zip(body["messages"], messages, strict=True))
    assert body["tools"] is TOOLS


EXTRA_CALL = CALL | {"extra_content": {"google": {"thought_signature": "s"}}}


def test_what_another_upstream_added_to_a_call_does_not_reach_a_strict_one() -> None:
    message = answer(tool_calls=[EXTRA_CALL, CALL | {"provider_specific_fields": {}}])
    sent = rewrite_answer(Dialect(takes_call_extras=False), message)
    assert sent == answer(tool_calls=[CALL, CALL])
    assert message["tool_calls"][0] is EXTRA_CALL


def test_an_upstream_gets_back_what_it_added_to_a_call() -> None:
    message = answer(tool_calls=[EXTRA_CALL])
    assert rewrite_answer(Dialect(), message) is message


# --- fields of the body ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limit_field", "given", "sent"),
    [
        ("max_completion_tokens", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": 5, "max_tokens": 9}, {"max_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": None, "max_tokens": 9}, {"max_tokens": 9}),
        ("max_tokens", {"max_completion_tokens": None}, {}),
        ("", {"max_tokens": 5}, {"max_tokens": 5}),
        ("", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ],
)
def test_the_limit_has_the_name_that_the_upstream_knows(
    limit_field: str, given: JsonObject, sent: JsonObject
) -> None:
    body = rewrite(Dialect(limit_field=limit_field), [USER], **given)
    assert {name: body[name] for name in body if name.startswith("max_")} == sent


def test_refused_fields_are_left_out_and_named() -> None:
    asked = {"model": "m", "messages": [USER], "store": True, "seed": 1, "max_tokens": 4}
    dialect = Dialect(refused_fields=frozenset({"store"}), limit_field="max_completion_tokens")
    body = dict(asked)
    rewrite_chat_body(body, dialect)
    assert body == {"model": "m", "messages": [USER], "seed": 1, "max_completion_tokens": 4}
    assert find_omitted_fields(asked, body) == ["store"]


def test_what_says_nothing_is_not_named_as_left_out() -> None:
    asked = {"messages": [USER], "user": None, "stream_options": {}}
    assert find_omitted_fields(asked, {"messages": [USER]}) == []


# --- thinking -------------------------------------------------------------------------------------
def test_thinking_goes_back_under_the_upstreams_name() -> None:
    for given in ("reasoning", "reasoning_content"):
        for wanted in ("reasoning", "reasoning_content"):
            message = rewrite_answer(Dialect(thinking_field=wanted), answer(**{given: "hm"}))
            assert message == answer(**{wanted: "hm"})


def test_thinking_that_came_under_both_names_goes_back_once() -> None:
    both = answer(reasoning="hm", reasoning_content="hm")
    assert rewrite_answer(Dialect(thinking_field="reasoning"), both) == answer(reasoning="hm")


def test_thinking_does_not_go_back_where_it_is_refused() -> None:
    message = answer(reasoning="hm", reasoning_content="hm", reasoning_details=[{"text": "hm"}])
    assert rewrite_answer(Dialect(thinking_field=""), message) == answer()


def test_an_unknown_upstream_gets_what_the_caller_wrote() -> None:
    message = answer(reasoning="hm")
    assert rewrite_answer(Dialect(), message) is message


def test_signed_details_go_back_as_they_came() -> None:
    message = answer(reasoning_content="hm", reasoning_details=[{"signature": "s"}])
    sent = rewrite_answer(Dialect(thinking_field="reasoning"), message)
    assert sent == answer(reasoning_details=[{"signature": "s"}], reasoning="hm")


@pytest.mark.parametrize("message", [answer(), answer(tool_calls=[CALL]), answer(reasoning="")])
def test_missing_thinking_is_a_blank_where_tools_need_it(message: JsonObject) -> None:
    dialect = Dialect(thinking_field="reasoning_content", needs_thinking=True)
    sent = rewrite_answer(dialect, message, tools=TOOLS)
    assert sent["reasoning_content"] == " "
    assert "reasoning_content" not in rewrite_answer(dialect, answer())


@pytest.mark.parametrize(
    ("content", "thinking", "text"),
    [
        ("<think>Hm.</think>\n\nyes", "Hm.", "yes"),
        ("<think>Hm.</think>", "Hm.", None),
        ("<think>Hm.", " ", "<think>Hm."),
        ("yes <think>Hm.</think>", " ", "yes <think>Hm.</think>"),
    ],
)
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_raw_thinking_goes_back_in_the_field_that_wants_it(
    field: str, content: str, thinking: str, text: str | None
) -> None:
    dialect = Dialect(thinking_field=field, needs_thinking=True)
    message = answer(content=content, tool_calls=[CALL])
    sent = rewrite_answer(dialect, message, tools=TOOLS)
    assert sent == answer(content=text, tool_calls=[CALL]) | {field: thinking}


def test_raw_thinking_stays_text_where_no_field_wants_it() -> None:
    message = answer(content="<think>Hm.</think>\n\nyes")
    assert rewrite_answer(Dialect(), message, tools=TOOLS) is message
    dialect = Dialect(thinking_field="reasoning_content", needs_thinking=True)
    assert rewrite_answer(dialect, message) == message


# --- cache marks ----------------------------------------------------------------------------------
MARK = {"cache_control": {"type": "ephemeral"}}
PARTS = [{"type": "text", "text": "long"} | MARK, {"type": "text", "text": "short"}]
MARKED_TOOL = TOOLS[0] | MARK


def test_marks_for_a_cache_reach_an_upstream_that_knows_them() -> None:
    messages = [USER | {"content": PARTS}]
    body = rewrite(Dialect(takes_cache_control=True), messages, tools=[MARKED_TOOL])
    assert body["messages"] is messages
    assert body["tools"] == [MARKED_TOOL]


def test_other_upstreams_get_no_marks_and_the_callers_body_keeps_them() -> None:
    messages = [USER | {"content": PARTS}, USER | MARK, answer()]
    marked_function = {"type": "function", "function": {"name": "g"} | MARK}
    body = rewrite(Dialect(), messages, tools=[MARKED_TOOL, marked_function])
    unmarked = [{"type": "text", "text": "long"}, {"type": "text", "text": "short"}]
    assert body["messages"] == [USER | {"content": unmarked}, USER, answer()]
    assert body["tools"] == [*TOOLS, {"type": "function", "function": {"name": "g"}}]
    assert "cache_control" in messages[0]["content"][0]


def test_parts_without_marks_are_sent_as_the_same_objects() -> None:
    messages = [USER | {"content": [{"type": "text", "text": "x"}]}]
    assert rewrite(Dialect(), messages, tools=TOOLS)["messages"] is messages
