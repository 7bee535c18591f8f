"""`data: [DONE]` stands behind the final event of a response, and nowhere else."""

import json

import openai
import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_refusal, send_stream

ENDINGS = {
    "response.completed": (*speech.streamed_completion("Hi"), DONE),
    "response.incomplete": (
        *speech.content_chunks("Hi"),
        speech.chat_chunk(finish="length"),
        DONE,
    ),
    "response.failed": (*speech.content_chunks("Hi"), CUT),
}


@pytest.mark.parametrize("event_type", ENDINGS)
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
async def test_a_stream_ends_with_done(gateway, upstream, alice, event_type, background):
    upstream.queue_scripts(send_stream(*ENDINGS[event_type]))
    body = {"model": "m", "input": "hi", "stream": True, "background": background}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    *events, done = read_data(answer)
    assert done == "[DONE]"
    types = [json.loads(event)["type"] for event in events]
    assert (types[0], types[-1]) == ("response.created", event_type)
    if background:
        response_id = json.loads(events[0])["response"]["id"]
        again = await gateway.send_request(
            "GET", f"/v1/responses/{response_id}?stream=true", alice.key
        )
        *repeated, done = read_data(again)
        # Postgres orders the fields of stored events anew
        assert list(map(json.loads, repeated)) == list(map(json.loads, events))
        assert done == "[DONE]"


def read_data(answer):
    """Return what stands behind each `data:` of a stream."""
    lines = answer.body.decode().split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def test_an_error_before_the_first_event_is_no_stream(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(400))
    body = {"model": "m", "input": "hi", "stream": True}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, b"[DONE]" in answer.body) == (400, False)


async def test_the_official_package_reads_such_a_stream(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*ENDINGS["response.completed"]))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=alice.key) as client:
        stream = await client.responses.create(model="m", input="hi", stream=True)
        types = [event.type async for event in stream]
        assert (types[0], types[-1]) == ("response.created", "response.completed")
        upstream.queue_scripts(send_stream(*ENDINGS["response.completed"]))
        async with client.responses.stream(model="m", input="hi") as events:
            assert (await events.get_final_response()).output_text == "Hi"
