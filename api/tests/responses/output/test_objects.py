import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from openai.types.responses import Response

from api.responses.output.objects import (
    ResponseOutcome,
    build_response_head,
    build_response_object,
    build_turn_response,
    echo_fields,
)
from api.responses.output.output_items import (
    render_annotations,
    render_logprobs,
    render_output_item,
)
from api.responses.request import schema
from conversations.messages.answer_builder import CollectedAnswer
from conversations.models import Conversation, ConversationKind, Item, Turn, TurnEndpoint
from providers.protocol.chunks import make_delta
from providers.protocol.request import CHAT, ChatRequest

ID = "0" * 31 + "7"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REQUEST = ChatRequest(id=ID, endpoint=CHAT, model="public", body={}, stream=True)
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def asked(**fields: Any) -> dict[str, Any]:
    return schema.read_response_body(orjson.dumps({"model": "m", "input": "hi"} | fields))


def valid(found: dict[str, Any]) -> dict[str, Any]:
    """The object, which the openai package's types accept."""
    Response.model_validate_json(orjson.dumps(found), strict=True)
    return found


def shown(**fields: Any) -> dict[str, Any]:
    return valid(
        build_response_object(
            build_response_head(asked(**fields), ID, 5, stored=True), ResponseOutcome()
        )
    )


def turn(**fields: Any) -> Turn:
    given = {
        "endpoint": TurnEndpoint.RESPONSE,
        "status": "completed",
        "model": "m",
        "created_at": AT,
        "stored": True,
    } | fields
    kind = given.pop("kind", ConversationKind.THREAD)
    return Turn(
        id=uuid.UUID(ID), conversation=Conversation(id="conv_1", kind=kind), number=1, **given
    )


def rows(*batches: list[dict[str, Any]]) -> list[Item]:
    answer = CollectedAnswer(ID)
    for batch in batches:
        answer.add_chunks(batch)
    return [
        Item(
            public_id=part.id,
            type=entry.type,
            role=entry.role,
            data=entry.data,
            status=entry.status,
            output=True,
        )
        for part, entry in zip(answer.parts, answer.make_entries(), strict=True)
    ]


# --- what is repeated -----------------------------------------------------------------------------
def test_what_was_left_out_is_shown_as_openai_shows_it() -> None:
    found = shown()
    assert found["id"] == f"resp_{ID}"
    assert (found["temperature"], found["top_p"], found["truncation"]) == (1.0, 1.0, "disabled")
    assert (found["tools"], found["tool_choice"], found["parallel_tool_calls"]) == (
        [],
        "auto",
        True,
    )
    assert (found["text"], found["metadata"]) == ({"format": {"type": "text"}}, {})
    assert (found["conversation"], found["previous_response_id"], found["error"]) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instructions", "be brief"),
        ("max_output_tokens", 50),
        ("max_tool_calls", 3),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", False),
        ("previous_response_id", "resp_1"),
        ("prompt_cache_key", "k"),
        ("reasoning", {"effort": "low", "summary": "auto"}),
        ("safety_identifier", "s"),
        ("service_tier", "flex"),
        ("temperature", 0.0),
        (
            "text",
            {
                "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
                "verbosity": "low",
            },
        ),
        ("tool_choice", "none"),
        ("top_logprobs", 3),
        ("top_p", 0.5),
        ("truncation", "auto"),
        ("user", "u"),
    ],
)
def test_what_the_request_gave_is_repeated(name: str, value: Any) -> None:
    assert shown(**{name: value})[name] == value


def test_tools_are_repeated_with_all_their_fields() -> None:
    choice = {"type": "function", "name": "f"}
    found = shown(tools=[FUNCTION, {"type": "web_search"}], tool_choice=choice)
    assert found["tools"] == [
        {**FUNCTION, "description": None, "strict": False},
        {"type": "web_search"},
    ]
    assert found["tool_choice"] == choice


def test_a_null_is_as_good_as_nothing() -> None:
    body = asked(
        temperature=None, text={"format": None, "verbosity": None}, reasoning=None, tools=None
    )
    assert echo_fields(body) == {"text": {"format": {"type": "text"}}}


@pytest.mark.parametrize("given", ["conv_1", {"id": "conv_1"}])
def test_the_conversation_is_named(given: Any) -> None:
    assert shown(conversation=given)["conversation"] == {"id": "conv_1"}


# --- from rows ------------------------------------------------------------------------------------
def test_the_object_of_a_turn_is_that_of_its_answer() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cache_write_tokens": 4},
    }
    body = asked(instructions="be brief", tools=[FUNCTION], metadata={"a": "b"})
    row = turn(
        settings=echo_fields(body),
        metadata={"a": "b"},
        usage=usage,
        extra_fields={"steps": [1]},
        finished_at=AT,
    )
    items = rows([make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so")])
    found = valid(build_turn_response(row, items))
    head = build_response_head(body, ID, int(AT.timestamp()), stored=True)
    done = ResponseOutcome(
        "completed",
        found["output"],
        found["usage"],
        completed_at=int(AT.timestamp()),
        extra_fields={"steps": [1]},
    )
    assert found == build_response_object(head, done)
    assert [item["id"] for item in found["output"]] == [f"rs_{ID}00", f"msg_{ID}01"]
    assert found["usage"]["total_tokens"] == 12
    assert found["usage"]["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 4}


def test_thinking_is_a_summary_again_where_the_request_asked_for_one() -> None:
    row = turn(settings=echo_fields(asked(reasoning={"summary": "auto"})))
    [thought] = valid(
        build_turn_response(row, rows([make_delta(REQUEST, reasoning_content="hm")]))
    )["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "in_progress"}, {"status": "in_progress", "usage": None, "completed_at": None}),
        ({"status": "queued", "background": True}, {"status": "queued", "background": True}),
        ({"status": "cancelled", "finished_at": AT}, {"status": "cancelled", "completed_at": None}),
        (
            {"status": "incomplete", "finish_reason": "length"},
            {"incomplete_details": {"reason": "max_output_tokens"}},
        ),
        ({"status": "incomplete"}, {"incomplete_details": None}),
        ({"status": "completed", "finish_reason": "length"}, {"incomplete_details": None}),
        (
            {"status": "failed", "error": {"code": "upstream_timeout", "message": "Late."}},
            {"error": {"code": "server_error", "message": "Late.", "reason": "upstream_timeout"}},
        ),
        (
            {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow."}},
            {"error": {"code": "rate_limit_exceeded", "message": "Slow."}},
        ),
        ({"kind": ConversationKind.OPEN}, {"conversation": {"id": "conv_1"}}),
        ({"kind": ConversationKind.THREAD}, {"conversation": None}),
        ({"stored": False}, {"store": False}),
        (
            {"endpoint": TurnEndpoint.CHAT, "settings": {"temperature": "warm", "tools": 3}},
            {"temperature": 1.0, "tools": []},
        ),
    ],
)
def test_the_state_of_a_turn_is_that_of_its_object(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = valid(build_turn_response(turn(**fields), []))
    assert {name: found[name] for name in expected} == expected


def test_fields_of_a_strategy_never_hide_those_of_the_object() -> None:
    found = valid(
        build_turn_response(
            turn(extra_fields={"steps": [], "status": "thinking", "output": "x"}), []
        )
    )
    assert (found["steps"], found["status"], found["output"]) == ([], "completed", [])


# --- items ----------------------------------------------------------------------------------------
def test_citations_in_any_form_are_flat() -> None:
    flat = {
        "type": "url_citation",
        "start_index": 1,
        "end_index": 2,
        "url": "https://a.b",
        "title": "A",
    }
    odd: list[Any] = [
        None,
        "x",
        {},
        {"type": "file_path", "file_id": "f"},
        {"type": "file_citation", "file_citation": {"filename": "f"}},
        {"url_citation": {"url": 3}},
        {"url_citation": "https://a.b"},
    ]
    assert render_annotations(
        [flat, {"type": "url_citation", "url_citation": dict(flat)}, *odd]
    ) == [flat, flat]
    file = {"file_id": "f", "filename": "f.txt", "index": 3}
    assert (
        render_annotations(
            [{"type": "file_citation", "file_citation": file}, {"type": "file_citation", **file}]
        )
        == [{"type": "file_citation", **file}] * 2
    )
    [bare] = render_annotations(
        [{"url_citation": {"url": "https://a.b", "start_index": -1, "title": None}}]
    )
    assert bare == {**flat, "start_index": 0, "end_index": 0, "title": "https://a.b"}


def test_log_probabilities_have_their_bytes() -> None:
    odd: list[Any] = [None, {}, {"token": "x"}, {"token": 3, "logprob": 0}]
    [entry] = render_logprobs([*odd, {"token": "é", "logprob": -1, "top_logprobs": None}])
    assert entry == {"token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": []}


def test_a_call_is_shown_as_it_is() -> None:
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert render_output_item(call, as_summary=True) is call
