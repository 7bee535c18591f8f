"""Turns on the WebSocket of /v1/responses: one after the other, and each follows the one before."""

import openai
import pytest

from api.tests.endpoints.response_socket.turn_client import open_socket
from conversations.models import Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_stream

CALL_ANSWER = [
    speech.chat_chunk(
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at":"sky"}'},
                }
            ]
        }
    ),
    speech.chat_chunk({}, finish="tool_calls"),
]
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}


def last_messages(upstream):
    return upstream.last_exchange.request.json["messages"]


async def test_a_turn_has_the_events_of_a_streamed_post(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("Hello!")
        events = await socket.read_turn()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    text = "".join(event["delta"] for event in events if event["type"].endswith("text.delta"))
    assert text == "Hello there!"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert all("stream_id" not in event for event in events)


async def test_the_second_turn_follows_the_first_one_that_is_stored_nowhere(
    gateway, upstream, alice
):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("My name is Alice.")
        second = await socket.ask("What is my name?", previous_response_id=first["response"]["id"])
        third = await socket.ask("Sure?", previous_response_id=second["response"]["id"])
    assert second["response"]["previous_response_id"] == first["response"]["id"]
    assert third["response"]["status"] == "completed"
    assert last_messages(upstream) == [
        {"role": "user", "content": "My name is Alice."},
        {"role": "assistant", "content": "Hello there!"},
        {"role": "user", "content": "What is my name?"},
        {"role": "assistant", "content": "Hello there!"},
        {"role": "user", "content": "Sure?"},
    ]
    assert await run_in_thread(Turn.objects.count) == 0
    records = await rows.read_usage_records()
    assert [(row.endpoint, row.status) for row in records] == [("responses", "complete")] * 3


async def test_the_output_of_a_tool_answers_the_call_of_the_turn_before(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*CALL_ANSWER, "[DONE]"))
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("Look up.", tools=[TOOL])
        output = {"type": "function_call_output", "call_id": "call_1", "output": "blue"}
        second = await socket.ask(
            [output], tools=[TOOL], previous_response_id=first["response"]["id"]
        )
    assert first["response"]["output"][0]["type"] == "function_call"
    assert second["response"]["status"] == "completed"
    assert [message["role"] for message in last_messages(upstream)] == ["user", "assistant", "tool"]


async def test_a_stored_response_is_followed_on_another_connection(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("My name is Alice.", store=True)
    async with open_socket(gateway, alice.key) as socket:
        second = await socket.ask("Who am I?", previous_response_id=first["response"]["id"])
        third = await socket.ask(
            "And now?", store=True, previous_response_id=second["response"]["id"]
        )
    assert [message["content"] for message in last_messages(upstream)] == [
        "My name is Alice.",
        "Hello there!",
        "Who am I?",
        "Hello there!",
        "And now?",
    ]
    assert third["response"]["store"]
    turns = await run_in_thread(lambda: list(Turn.objects.order_by("created_at")))
    assert len(turns) == 2


async def test_a_response_that_only_another_connection_remembers_is_not_found(
    gateway, upstream, alice, mallory
):
    async with open_socket(gateway, alice.key) as first_socket:
        first = await first_socket.ask("My name is Alice.")
        for person in (alice, mallory):
            async with open_socket(gateway, person.key) as socket:
                refused = await socket.ask("Hi", previous_response_id=first["response"]["id"])
                assert (refused["type"], refused["status"]) == ("error", 400)
                assert refused["error"]["type"] == "invalid_request_error"
                assert refused["error"]["code"] == "previous_response_not_found"
                assert refused["error"]["param"] == "previous_response_id"
                assert (await socket.ask("Anew."))["type"] == "response.completed"


@pytest.mark.parametrize("fault", ["upstream", "input"])
async def test_a_failed_turn_evicts_the_response_that_it_follows(gateway, upstream, alice, fault):
    output = {"type": "function_call_output", "call_id": "call_none", "output": "x"}
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("Hello!")
        previous = {"previous_response_id": first["response"]["id"]}
        if fault == "upstream":
            upstream.queue_scripts(send_refusal(400, "bad", type="invalid_request_error"))
        failed = await socket.ask("Hi" if fault == "upstream" else [output], **previous)
        assert (failed["type"], failed["status"]) == ("error", 400)
        again = await socket.ask("Hi", **previous)
        assert again["error"]["code"] == "previous_response_not_found"


async def test_only_the_latest_response_is_remembered(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("One.")
        await socket.ask("Two.")
        refused = await socket.ask("Three.", previous_response_id=first["response"]["id"])
        assert refused["error"]["code"] == "previous_response_not_found"


async def test_a_key_that_may_not_store_goes_on_as_well(gateway, upstream, alice, keeps_nothing):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("One.", store=True)
        assert first["response"]["store"] is False
        second = await socket.ask("Two.", previous_response_id=first["response"]["id"])
        assert second["type"] == "response.completed"
        refused = await socket.ask("Three.", previous_response_id="resp_unknown")
        assert refused["error"]["code"] == "previous_response_not_found"
    assert await run_in_thread(Turn.objects.count) == 0


@pytest.fixture
def keeps_nothing(alice):
    """Make Alice's key one whose content is not stored."""
    alice.row.stores_content = False
    alice.row.save()


@pytest.mark.settings(RESPONSE_SOCKET_STATE_BYTES=2_000)
async def test_a_conversation_that_is_too_long_is_not_remembered(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("x" * 3_000)
        refused = await socket.ask("Two.", previous_response_id=first["response"]["id"])
        assert refused["error"]["code"] == "previous_response_not_found"
        assert gateway.inner.response_sockets.state_bytes == 0


@pytest.mark.parametrize(
    "fields",
    [{"generate": False}, {"prompt_cache_options": {"prewarm": True}}],
    ids=["generate", "prewarm"],
)
async def test_a_turn_that_is_not_generated_prepares_the_next_one(gateway, upstream, alice, fields):
    async with open_socket(gateway, alice.key) as socket:
        await socket.send([{"role": "user", "content": "My name is Alice."}], **fields)
        events = await socket.read_turn()
        assert [event["type"] for event in events] == [
            "response.created",
            "response.in_progress",
            "response.completed",
        ]
        assert events[-1]["response"]["output"] == []
        assert not upstream.requests
        await socket.ask("Who am I?", previous_response_id=events[-1]["response"]["id"])
    assert [message["content"] for message in last_messages(upstream)] == [
        "My name is Alice.",
        "Who am I?",
    ]
    assert len(await rows.read_usage_records()) == 1


async def test_the_official_client_connects(gateway, upstream, alice):
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=alice.key)
    async with client.responses.connect() as connection:
        await connection.response.create(model="m", input="My name is Alice.", store=False)
        first = await read_response(connection)
        await connection.response.create(
            model="m", input="Who am I?", store=False, previous_response_id=first.id
        )
        assert (await read_response(connection)).output_text == "Hello there!"
        await connection.response.create(model="none", input="Hello", store=False)
        event = await connection.recv()
        assert (event.type, event.error.code) == ("error", "model_not_found")


async def read_response(connection):
    """Return the response of the event that ends a turn."""
    async for event in connection:
        if event.type == "response.completed":
            return event.response
    raise AssertionError("the connection ended")
