"""Responses, Conversations and stored completions by the official `openai` package of npm,
unmodified, against a real process of ours. `npm/responses.mjs` does what a program would do and
prints what it saw.
"""

import json
from pathlib import Path

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, Gate, send_reply, send_stream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import npm_packages, surroundings

pytestmark = pytest.mark.interop

CITY = {"name": "Zürich", "people": 443000}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
}
THINKING = [
    speech.chat_chunk({"role": "assistant", "reasoning_content": "Hm"}),
    *speech.streamed_completion("Yes."),
]


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_packages()


@pytest.fixture
def node(packages, house, house_key, house_upstream):
    env = surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key)
    return Cases(("node", "responses.mjs"), packages, env)


def text(response):
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


def said(upstream):
    return [
        (message["role"], message.get("content"))
        for message in upstream.last_exchange.request.json["messages"]
    ]


def words(*texts):
    return [send_reply(speech.chat_completion(one)) for one in texts]


def numbers(events):
    return [event["sequence_number"] for event in events]


# --- answers --------------------------------------------------------------------------------------
async def test_a_response_and_those_that_follow(node, house_upstream):
    house_upstream.queue_scripts(*words("One.", "Two."))
    first, second = await node(
        "create", {"input": "1", "instructions": "Count."}, {"previous_response_id": True}
    )
    assert (text(first), first["output_text"], first["status"]) == ("One.", "One.", "completed")
    assert second["previous_response_id"] == first["id"]
    assert said(house_upstream) == [("user", "1"), ("assistant", "One."), ("user", "Hello!")]


async def test_a_stream_is_accumulated_to_what_a_whole_answer_is(node):
    seen = await node("accumulated")
    assert "".join(seen["deltas"]) == seen["response"]["output_text"] == "Hello there!"
    assert seen["response"]["usage"]["total_tokens"] == 12


async def test_thinking_as_text_and_as_a_summary(node, house_upstream):
    house_upstream.queue_scripts(*[send_stream(*THINKING, DONE)] * 2)
    events = await node("events")
    assert numbers(events) == list(range(len(events)))
    assert [
        event["delta"] for event in events if event["type"] == "response.reasoning_text.delta"
    ] == ["Hm"]
    seen = await node("accumulated", {"reasoning": {"effort": "low", "summary": "auto"}})
    assert seen["response"]["output"][0]["summary"] == [{"type": "summary_text", "text": "Hm"}]


@pytest.mark.parametrize(
    "kept", [True, False], ids=["items kept by the program", "previous_response_id"]
)
async def test_a_function_is_called_and_its_result_heard(node, house_upstream, kept):
    calling = speech.chat_completion(
        None, finish="tool_calls", message={"tool_calls": [CALL], "reasoning_content": "Hm."}
    )
    house_upstream.queue_scripts(send_reply(calling), *words("Wet."))
    assert await node("calls", kept) == "Wet."
    asked, called, answered = house_upstream.last_exchange.request.json["messages"]
    assert asked == {"role": "user", "content": "Weather?"}
    assert (called["tool_calls"], called["reasoning_content"]) == ([CALL], "Hm.")
    assert answered == {"role": "tool", "tool_call_id": "call_1", "content": "It rains in Graz."}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_structured_output_is_parsed(node, house_upstream, streams):
    told = json.dumps(CITY)
    script = (
        send_stream(*speech.streamed_completion(told[:5], told[5:]), DONE)
        if streams
        else send_reply(speech.chat_completion(told))
    )
    house_upstream.queue_scripts(script)
    assert await node("parsed", streams) == CITY
    assert (
        house_upstream.last_exchange.request.json["response_format"]["json_schema"]["strict"]
        is True
    )


async def test_input_tokens_are_counted(node, house_upstream):
    short, long = [
        await node("counted", body) for body in ({}, {"instructions": "Be brief, please."})
    ]
    assert short["object"] == "response.input_tokens"
    assert 0 < short["input_tokens"] < long["input_tokens"]
    assert house_upstream.requests == []


# --- what is kept ---------------------------------------------------------------------------------
async def test_a_stored_response(node):
    seen = await node("stored")
    assert seen["found"] == seen["made"]
    assert [item["content"][0]["text"] for item in seen["items"]] == ["Hello!"]
    assert (seen["gone"]["kind"], seen["gone"]["code"]) == ("NotFoundError", "response_not_found")


async def test_a_conversation_and_its_items(node, house_upstream):
    house_upstream.queue_scripts(*words("Hello Ann."))
    seen = await node("conversation")
    assert said(house_upstream) == [("user", "I am Ann."), ("user", "Hi")]
    assert [item["content"][0]["text"] for item in seen["found"]] == [
        "I am Ann.",
        "Hi",
        "Hello Ann.",
        "Bye",
    ]
    assert (seen["one"], seen["left"], seen["deleted"]) == (seen["found"][-1], 3, True)
    assert (seen["talk"]["metadata"], seen["updated"]["metadata"]) == (
        {"topic": "names"},
        {"topic": "n"},
    )
    assert seen["gone"]["kind"] == "NotFoundError"


async def test_a_stored_completion(node):
    seen = await node("completion")
    assert seen["listed"] == [seen["id"]]
    assert seen["found"]["choices"][0]["message"]["content"] == "Hello there!"
    assert [message["content"] for message in seen["asked"]] == ["Hello!"]
    assert seen["metadata"] == {"run": "b"}
    assert seen["gone"]["kind"] == "NotFoundError"


# --- in the background ----------------------------------------------------------------------------
async def test_who_comes_back_hears_the_rest(node, house_upstream):
    gate = Gate()
    house_upstream.queue_scripts(
        send_stream(*speech.content_chunks("Hel"), gate, *speech.streamed_completion("lo."), DONE)
    )
    before = await node("begun")
    gate.open()
    after = await node("resumed", before[0]["response"]["id"], before[-1]["sequence_number"])
    assert numbers([*before, *after]) == list(range(len(before) + len(after)))
    assert (after[-1]["type"], text(after[-1]["response"])) == ("response.completed", "Hello.")


async def test_a_background_response_is_cancelled(node, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Hel"), Gate()))
    assert await node("cancelled") == ["queued", "cancelled", "cancelled"]


# --- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "param"),
    [
        ({"model": "no-such"}, "NotFoundError", 404, "model_not_found", "model"),
        (
            {"previous_response_id": "resp_" + "0" * 32},
            "NotFoundError",
            404,
            "previous_response_not_found",
            "previous_response_id",
        ),
        (
            {
                "tools": [{"type": "image_generation"}],
                "tool_choice": {"type": "image_generation"},
            },
            "BadRequestError",
            400,
            "unsupported_parameter",
            "tool_choice",
        ),
        ({"temperature": 9}, "BadRequestError", 400, "invalid_value", "temperature"),
    ],
    ids=["model", "previous response", "hosted tool", "value"],
)
async def test_a_request_that_cannot_be_served(
    node, house_upstream, body, kind, status, code, param
):
    error = await node("error", body)
    assert [error[name] for name in ("kind", "status", "code", "param")] == [
        kind,
        status,
        code,
        param,
    ]
    assert house_upstream.requests == []


async def test_a_wrong_key(node):
    error = await node("error", API_KEY="sk-ps-wrong")
    assert (error["kind"], error["status"], error["code"]) == (
        "AuthenticationError",
        401,
        "invalid_api_key",
    )


async def test_a_stream_that_breaks_ends_as_failed(node, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Once"), CUT))
    events = await node("events")
    assert events[-1]["type"] == "response.failed"
    assert text(events[-1]["response"]) == "Once"
