"""Turns on the WebSocket of /v1/responses: one after the other, and each follows the one before."""

from api.tests.endpoints.response_socket.turn_client import open_socket


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


async def test_the_second_turn_follows_the_first_one_that_is_stored_nowhere(
    gateway, upstream, alice
):
    async with open_socket(gateway, alice.key) as socket:
        first = await socket.ask("My name is Alice.")
        second = await socket.ask(
            "What is my name?", previous_response_id=first["response"]["id"]
        )
    assert second["response"]["previous_response_id"] == first["response"]["id"]
    assert upstream.last_exchange.request.json["messages"] == [
        {"role": "user", "content": "My name is Alice."},
        {"role": "assistant", "content": "Hello there!"},
        {"role": "user", "content": "What is my name?"},
    ]
