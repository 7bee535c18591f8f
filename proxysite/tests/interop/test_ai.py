"""The Vercel AI SDK (npm `ai` and `@ai-sdk/openai`), unmodified, against a real process of ours:
its default is /v1/responses. `npm/ai.mjs` does what a program would do and prints what it saw.
"""

import json
from pathlib import Path

import openai
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
CALLING = {"role": "assistant", "reasoning_content": "Hm", "content": None}
RAIN = {"role": "tool", "tool_call_id": "call_1", "content": "It rains in Graz."}
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
# how a model whose name the SDK does not know is told to think
THINKING = {"forceReasoning": True, "reasoningSummary": "auto", "reasoningEffort": "low"}


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_packages()


@pytest.fixture
def sdk(packages, house, house_key, house_upstream):
    return Cases(
        ("node", "ai.mjs"), packages, surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key)
    )


@pytest.fixture
async def client(house, house_key):
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house_key) as found:
        yield found


def told(upstream):
    return upstream.last_exchange.request.json["messages"]


def thinking(*texts, reason="Hm"):
    return [
        speech.chat_chunk({"role": "assistant", "reasoning_content": reason}),
        *speech.streamed_completion(*texts),
    ]


def calling(*, streams):
    if not streams:
        return send_reply(
            speech.chat_completion(
                None, finish="tool_calls", message={**CALLING, "tool_calls": [CALL]}
            )
        )
    call = speech.chat_chunk({"tool_calls": [{"index": 0, **CALL}]})
    return send_stream(
        speech.chat_chunk(CALLING),
        call,
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )


def words(*texts):
    return [send_reply(speech.chat_completion(text)) for text in texts]


both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


# --- answers --------------------------------------------------------------------------------------
@both
async def test_text(sdk, house_upstream, streams):
    seen = await sdk("text", {"system": "Be brief."}, streams)
    assert (seen["text"], seen["finish"], seen["reasoning"]) == ("Hello there!", "stop", None)
    assert (seen["usage"]["inputTokens"], seen["usage"]["outputTokens"]) == (9, 3)
    assert seen["id"].startswith("resp_")
    assert told(house_upstream) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
    ]
    if streams:
        deltas = [part["text"] for part in seen["parts"] if part["type"] == "text-delta"]
        assert "".join(deltas) == "Hello there!"


@both
async def test_chat_completions_where_a_program_wants_them(sdk, house_upstream, streams):
    seen = await sdk("text", {"chat": True}, streams)
    assert (seen["text"], seen["finish"]) == ("Hello there!", "stop")


@both
async def test_what_the_model_thought_is_shown(sdk, house_upstream, streams):
    message = {"content": "Yes.", "reasoning_content": "Hm"}
    house_upstream.queue_scripts(
        send_stream(*thinking("Yes."), DONE)
        if streams
        else send_reply(speech.chat_completion("Yes.", message=message))
    )
    seen = await sdk("text", {"openai": THINKING, "system": "Think."}, streams)
    assert (seen["text"], seen["reasoning"]) == ("Yes.", "Hm")
    assert house_upstream.last_exchange.request.json["reasoning_effort"] == "low"


@both
@pytest.mark.parametrize(
    "options",
    [{}, {"store": False}, THINKING, {**THINKING, "store": False}],
    ids=["stored", "not stored", "thinking", "thinking, not stored"],
)
async def test_a_tool_is_run_by_the_sdk(sdk, house_upstream, options, streams):
    """What is stored it only refers to when it asks again (`item_reference`)."""
    answer = send_stream(*speech.streamed_completion("Wet."), DONE) if streams else words("Wet.")[0]
    house_upstream.queue_scripts(calling(streams=streams), answer)
    seen = await sdk("tools", options, streams)
    assert (seen["text"], seen["steps"], seen["finish"]) == ("Wet.", 2, "stop")
    question, called, result = told(house_upstream)
    assert question == {"role": "user", "content": "Hello!"}
    assert [call["function"]["name"] for call in called["tool_calls"]] == ["weather"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"city": "Graz"}
    assert result == RAIN
    dropped = options == {"store": False}  # of a model that it does not take for one that thinks
    assert called.get("reasoning_content") == (None if dropped else "Hm")


@pytest.mark.parametrize(
    "options", [{}, {"store": False}, THINKING], ids=["stored", "not stored", "thinking"]
)
async def test_a_chat_over_several_turns_with_a_tool(sdk, house_upstream, options):
    house_upstream.queue_scripts(*words("Hi."), calling(streams=False), *words("Wet.", "Bye."))
    assert await sdk("chat", options, "Hello!", "Weather?", "Bye!") == ["Hi.", "Wet.", "Bye."]
    said = [(message["role"], message["content"]) for message in told(house_upstream)]
    assert said == [
        *[("user", "Hello!"), ("assistant", "Hi."), ("user", "Weather?"), ("assistant", None)],
        *[("tool", "It rains in Graz."), ("assistant", "Wet."), ("user", "Bye!")],
    ]


async def test_a_response_follows_another_and_stands_in_a_conversation(sdk, house_upstream, client):
    house_upstream.queue_scripts(*words("One.", "Two.", "Three."))
    first = await sdk("text", {"prompt": "1"})
    await sdk("text", {"prompt": "2", "openai": {"previousResponseId": first["id"]}})
    assert [message["content"] for message in told(house_upstream)] == ["1", "One.", "2"]
    talk = await client.conversations.create(items=[{"role": "user", "content": "I am Ann."}])
    await sdk("text", {"prompt": "3", "openai": {"conversation": talk.id}})
    items = await client.conversations.items.list(talk.id, order="asc")
    assert [item.content[0].text for item in items.data] == ["I am Ann.", "3", "Three."]


@both
@pytest.mark.parametrize("where", ["conversation", "previousResponseId"])
async def test_a_tool_is_run_where_something_was_said_before(
    sdk, house_upstream, client, where, streams
):
    if where == "conversation":
        begun = await client.conversations.create(items=[{"role": "user", "content": "I am Ann."}])
        before = ["I am Ann."]
    else:
        begun = await client.responses.create(model="m", input="I am Ann.")
        before = ["I am Ann.", "Hello there!"]
    answer = send_stream(*speech.streamed_completion("Wet."), DONE) if streams else words("Wet.")[0]
    house_upstream.queue_scripts(calling(streams=streams), answer)
    seen = await sdk("tools", {where: begun.id}, streams)
    assert (seen["text"], seen["steps"]) == ("Wet.", 2)
    said = [message["content"] for message in told(house_upstream)]
    # in a conversation the SDK repeats its question, which is not said twice (F15)
    assert said == [*before, "Hello!", None, "It rains in Graz."]


@pytest.mark.parametrize("way", ["generateObject", "output", "streamObject"])
async def test_structured_output(sdk, house_upstream, way):
    text = json.dumps(CITY)
    answer = (
        send_stream(*speech.streamed_completion(text[:5], text[5:]), DONE)
        if way == "streamObject"
        else words(text)[0]
    )
    house_upstream.queue_scripts(answer)
    assert await sdk("object", way) == CITY
    form = house_upstream.last_exchange.request.json["response_format"]["json_schema"]
    assert (form["strict"], form["schema"]["required"]) == (True, ["name", "people"])


async def test_a_search_that_the_upstream_does_and_its_sources(sdk, house_upstream):
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example/", "title": "A"}}
    house_upstream.queue_scripts(
        send_reply(speech.chat_completion("Rain.", message={"annotations": [cited]}))
    )
    seen = await sdk("search")
    assert [(source["url"], source["title"]) for source in seen["sources"]] == [
        ("https://a.example/", "A")
    ]
    # an offer is no wish to search (F2)
    assert "web_search_options" not in house_upstream.last_exchange.request.json


async def test_an_image(sdk, house_upstream):
    await sdk("image", DOT)
    (message,) = told(house_upstream)
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"] == DOT


async def test_an_answer_that_was_cut_says_so(sdk, house_upstream):
    house_upstream.queue_scripts(send_reply(speech.chat_completion("Once", finish="length")))
    seen = await sdk("text", {"maxOutputTokens": 16})
    assert (seen["text"], seen["finish"]) == ("Once", "length")
    assert house_upstream.last_exchange.request.json["max_tokens"] == 16


# --- errors ---------------------------------------------------------------------------------------
async def test_errors_have_their_status_and_are_not_tried_again(sdk, house_upstream):
    error = await sdk("error", "no-such")
    assert (error["status"], error["code"], error["retryable"]) == (404, "model_not_found", False)
    assert "no-such" in error["message"]
    error = await sdk("error", API_KEY="sk-ps-wrong")
    assert (error["status"], error["code"], error["retryable"]) == (401, "invalid_api_key", False)
    assert house_upstream.requests == []


async def test_a_stream_that_breaks_is_an_error(sdk, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Once"), CUT))
    seen = await sdk("text", {}, True)
    [error] = [part["message"] for part in seen["parts"] if part["type"] == "error"]
    assert error == "The upstream closed the connection before its answer was complete."
    assert [part["text"] for part in seen["parts"] if part["type"] == "text-delta"] == ["Once"]


async def test_leaving_a_stream_closes_the_upstreams_connection(sdk, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Hello"), Gate()))
    async with sdk.running("leave") as seen:
        assert seen == {"heard": "Hello"}
        await house_upstream.last_exchange.wait_until_left()
