"""The OpenAI Agents SDK (PyPI `openai-agents`), unmodified and in an environment of its own,
against a real process of ours. `pip/openai_agents.py` does what a program would do and prints what
it saw.
"""

import json
from pathlib import Path

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_reply, send_stream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import HERE, pip_programs, surroundings

pytestmark = pytest.mark.interop

CITY = {"name": "Zürich", "people": 443000}
BRIEF = ("system", "Be brief.")
RAIN = ("tool", "It rains in Graz.")


@pytest.fixture(scope="module")
def programs() -> Path:
    return pip_programs("openai-agents")


@pytest.fixture
def sdk(programs, house, house_key, house_upstream):
    env = surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key)
    return Cases((programs / "python", "-W", "error", "openai_agents.py"), HERE / "pip", env)


def said(upstream, at=-1):
    return [
        (message["role"], message.get("content"))
        for message in upstream.requests[at].json["messages"]
    ]


def words(*texts, streams=False):
    return [
        send_stream(*speech.streamed_completion(one), DONE)
        if streams
        else send_reply(speech.chat_completion(one))
        for one in texts
    ]


def calling(name, *, streams=False, reason="Hm", **arguments):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }
    thought = {"role": "assistant", "reasoning_content": reason, "content": None}
    if not streams:
        return send_reply(
            speech.chat_completion(
                None, finish="tool_calls", message={**thought, "tool_calls": [call]}
            )
        )
    begun = speech.chat_chunk({"tool_calls": [{"index": 0, **call}]})
    return send_stream(
        speech.chat_chunk(thought),
        begun,
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )


both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@both
@pytest.mark.parametrize(
    ("kept", "store"),
    [
        ("items", True),
        ("items", False),
        ("previous", True),
        ("conversation", True),
        ("session", True),
    ],
    ids=["items", "items, not stored", "previous_response_id", "conversation", "session"],
)
async def test_a_tool_is_run_in_a_talk_of_several_turns(sdk, house_upstream, kept, store, streams):
    house_upstream.queue_scripts(
        *words("Hi.", streams=streams),
        calling("weather", streams=streams, city="Graz"),
        *words("Wet.", "Bye.", streams=streams),
    )
    seen = await sdk(
        "run", ["Hello!", "Weather?", "Bye!"], kept, {"streamed": streams, "store": store}
    )
    assert seen["heard"] == ["Hi.", "Wet.", "Bye."]
    if streams:
        assert seen["kinds"] == [
            "agent_updated_stream_event",
            "raw_response_event",
            "run_item_stream_event",
        ]
    question = [BRIEF, ("user", "Hello!"), ("assistant", "Hi."), ("user", "Weather?")]
    assert said(house_upstream, 1) == question
    assert said(house_upstream, 2) == [*question, ("assistant", None), RAIN]
    assert said(house_upstream) == [
        *question,
        ("assistant", None),
        RAIN,
        ("assistant", "Wet."),
        ("user", "Bye!"),
    ]
    called = house_upstream.requests[2].json["messages"][-2]
    assert (called["tool_calls"][0]["id"], called["reasoning_content"]) == ("call_1", "Hm")


async def test_the_words_stream(sdk):
    seen = await sdk("deltas")
    assert (seen["output"], seen["tokens"]) == ("Hello there!", 12)
    assert "".join(seen["deltas"]) == "Hello there!"


@pytest.mark.parametrize("summary", [True, False], ids=["as a summary", "as text"])
async def test_what_the_model_thought_is_an_item(sdk, house_upstream, summary):
    house_upstream.queue_scripts(
        send_reply(speech.chat_completion("Yes.", message={"reasoning_content": "Hm"}))
    )
    seen = await sdk("reasoning", {"summary": summary})
    assert seen["output"] == "Yes."
    (item,) = seen["items"]
    assert [part["text"] for part in item["summary" if summary else "content"]] == ["Hm"]
    assert house_upstream.last_exchange.request.json["reasoning_effort"] == "low"


@both
async def test_a_handoff_to_another_agent(sdk, house_upstream, streams):
    house_upstream.queue_scripts(
        calling("transfer_to_spanish_agent", streams=streams),
        *words("Buenos días.", streams=streams),
    )
    seen = await sdk("handoff", {"streamed": streams})
    assert seen == {"output": "Buenos días.", "agent": "Spanish agent"}
    system, asked, called, result = house_upstream.last_exchange.request.json["messages"]
    assert (system["content"], asked["content"]) == ("Speak Spanish.", "Hola")
    assert called["tool_calls"][0]["function"]["name"] == "transfer_to_spanish_agent"
    assert json.loads(result["content"]) == {"assistant": "Spanish agent"}


async def test_an_agent_as_a_tool_of_another(sdk, house_upstream):
    house_upstream.queue_scripts(
        calling("to_spanish", input="Good morning"), *words("Buenos días.", "It is: buenos días.")
    )
    seen = await sdk("agents_as_tools")
    assert seen["output"] == "It is: buenos días."
    assert said(house_upstream, 1) == [("system", "Translate."), ("user", "Good morning")]


async def test_a_search_is_only_offered_and_sources_are_told(sdk, house_upstream):
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example/", "title": "A"}}
    house_upstream.queue_scripts(
        send_reply(speech.chat_completion("Rain.", message={"annotations": [cited]}))
    )
    (source,) = await sdk("search")
    assert (source["url"], source["title"]) == ("https://a.example/", "A")
    asked = house_upstream.last_exchange.request.json
    assert "web_search_options" not in asked
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["weather"]


async def test_structured_output_is_of_its_type(sdk, house_upstream):
    house_upstream.queue_scripts(*words(json.dumps(CITY)))
    assert await sdk("structured") == CITY
    form = house_upstream.last_exchange.request.json["response_format"]["json_schema"]
    assert (form["strict"], form["schema"]["required"]) == (True, ["name", "people"])


async def test_a_session_is_a_conversation(sdk, house_upstream):
    house_upstream.queue_scripts(calling("weather", city="Graz"), *words("Wet."))
    seen = await sdk("session")
    kinds = [item["type"] for item in seen["items"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message"]
    assert seen["items"][0]["content"][0]["text"] == "Weather?"
    assert (seen["last"], seen["some"]) == (seen["items"][-1], [seen["items"][-2]])
    assert (seen["many"], seen["gone"]) == (4 + 25, "conversation_not_found")


async def test_errors_are_of_the_openai_packages_classes(sdk, house_upstream):
    error = await sdk("error", MODEL="no-such")
    assert error == {
        "kind": "NotFoundError",
        "status": 404,
        "code": "model_not_found",
        "param": "model",
    }
    error = await sdk("error", API_KEY="sk-ps-wrong")
    assert (error["kind"], error["code"]) == ("AuthenticationError", "invalid_api_key")
    error = await sdk("error", {"previous": "resp_" + "0" * 32})
    assert (error["kind"], error["param"]) == ("NotFoundError", "previous_response_id")
    assert house_upstream.requests == []


async def test_a_stream_that_breaks_is_an_error(sdk, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Once"), CUT))
    error = await sdk("error", {"streamed": True})
    assert error["kind"] == "ModelBehaviorError"
    assert "status=failed" in error["message"]
    assert "The upstream closed the connection" in error["message"]
