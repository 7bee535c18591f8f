"""Conversations over several processes on Postgres: what one has written the next one knows, in
whatever process.
"""

import asyncio
import json
import os
import signal

import httpx
import pytest
from django.conf import settings

from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import Gate, send_reply, send_stream
from proxysite.tests.houses.house_workers import list_workers, open_client, run_only, start_workers

pytestmark = pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="SQLite is for one process")
CHAT = "/v1/chat/completions"
TURNS = 40


@pytest.fixture
async def trio(own_house):
    """A house that serves with three processes and gives up dead ones' turns soon."""
    own_house.environment["TURN_LEASE_SECONDS"] = "2"
    await start_workers(own_house, 3)
    return own_house


def asked(key, text, **body):
    data = {"model": "m", "messages": [{"role": "user", "content": text}]} | body
    return {"json": data, "headers": {"authorization": f"Bearer {key}"}}


async def echo_of_length(exchange):
    """Answers with how many messages it was told."""
    messages = exchange.request.json["messages"]
    said = f"{len(messages)}: {messages[-1]['content']}"
    if exchange.request.json.get("stream"):
        await send_stream(*speech.streamed_completion(said), "[DONE]")(exchange)
    else:
        await send_reply(speech.chat_completion(said))(exchange)


async def test_turns_of_one_conversation_from_everywhere_at_once_come_one_after_another(
    trio, house_key, house_upstream
):
    house_upstream.set_default_script(echo_of_length)

    async def turn(number):
        async with open_client(trio) as http:  # a connection of its own: whichever process takes it
            http.timeout = httpx.Timeout(60)
            answer = await http.post(f"{CHAT}/race", **asked(house_key, str(number)))
            assert answer.status_code == 200, answer.text
            return answer.json()["choices"][0]["message"]["content"]

    said = await asyncio.gather(*map(turn, range(TURNS)))
    lengths = sorted(int(text.split(":")[0]) for text in said)
    assert lengths == [
        2 * before + 1 for before in range(TURNS)
    ]  # each was told all turns before it, whole
    rows = trio.run_sql("SELECT number, status FROM conversations_turn ORDER BY number")
    assert [number for number, _ in rows] == list(range(1, TURNS + 1))
    assert {status for _, status in rows} == {"completed"}
    assert trio.run_sql("SELECT count(*) FROM conversations_item") == [(2 * TURNS,)]


async def test_who_hears_the_end_can_go_on_at_once_in_any_process(trio, house_key, house_upstream):
    house_upstream.set_default_script(echo_of_length)
    previous = None
    for number in range(15):
        async with open_client(trio) as http, open_client(trio) as other:
            body = {"model": "m", "input": str(number), "stream": True}
            body |= {"previous_response_id": previous} if previous else {}
            headers = {"authorization": f"Bearer {house_key}"}
            async with http.stream("POST", "/v1/responses", json=body, headers=headers) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: ") and '"response.completed"' in line:
                        done = json.loads(line.removeprefix("data: "))["response"]
                        # the connection is still open: nothing but the event says that it is
                        # written
                        break
                found = await other.get(f"/v1/responses/{done['id']}", headers=headers)
                assert found.json()["status"] == "completed"
        assert done["output"][0]["content"][0]["text"] == f"{2 * number + 1}: {number}"
        previous = done["id"]


async def test_two_that_follow_the_same_response_branch_off(trio, house_key, house_upstream):
    house_upstream.set_default_script(echo_of_length)
    headers = {"authorization": f"Bearer {house_key}"}

    async def follow(previous, text):
        async with open_client(trio) as http:
            body = {"model": "m", "input": text, "previous_response_id": previous}
            return (await http.post("/v1/responses", json=body, headers=headers)).json()

    first = await follow(None, "root")
    branches = await asyncio.gather(*(follow(first["id"], str(number)) for number in range(12)))
    texts = [branch["output"][0]["content"][0]["text"] for branch in branches]
    assert texts == [f"3: {number}" for number in range(12)]
    again = await asyncio.gather(*(follow(branch["id"], "leaf") for branch in branches))
    assert {leaf["output"][0]["content"][0]["text"] for leaf in again} == {"5: leaf"}


async def test_a_killed_process_leaves_an_incomplete_turn_and_its_conversation_goes_on(
    trio, house_key, house_upstream
):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    house_upstream.set_default_script(echo_of_length)
    victim, *_ = list_workers(trio)
    async with open_client(trio) as http:
        with run_only(trio, victim):
            streaming = http.stream("POST", f"{CHAT}/lost", **asked(house_key, "1", stream=True))
            pieces = (await streaming.__aenter__()).aiter_text()
            assert "one" in await anext(pieces)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)
        await streaming.__aexit__(None, None, None)
    async with open_client(trio) as http:
        http.timeout = httpx.Timeout(60)
        answer = await http.post(f"{CHAT}/lost", **asked(house_key, "2"))
    assert (
        answer.json()["choices"][0]["message"]["content"] == "2: 2"
    )  # its question is known, of its answer nothing
    rows = trio.run_sql("SELECT status FROM conversations_turn ORDER BY number")
    assert rows == [("incomplete",), ("completed",)]


async def test_a_response_in_the_background_is_followed_and_cancelled_from_another_process(
    trio, house_key, house_upstream
):
    gate = Gate()
    house_upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("one"), gate, *speech.streamed_completion(" two"), "[DONE]"
        )
    )
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    headers = {"authorization": f"Bearer {house_key}"}
    first, second, _ = list_workers(trio)
    body = {"model": "m", "input": "go", "background": True}
    ids = []
    for _ in range(2):
        with run_only(trio, first):
            async with open_client(trio) as http:
                ids.append(
                    (await http.post("/v1/responses", json=body, headers=headers)).json()["id"]
                )
    events = []
    os.kill(second, signal.SIGCONT)
    async with open_client(trio) as http:
        address = f"/v1/responses/{ids[0]}?stream=true"
        async with http.stream("GET", address, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    events.append(json.loads(line.removeprefix("data: ")))
                    if events[-1]["type"] == "response.output_text.delta":
                        gate.open()
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert (events[-1]["type"], events[-1]["response"]["status"]) == (
            "response.completed",
            "completed",
        )
        stopped = await http.post(f"/v1/responses/{ids[1]}/cancel", headers=headers)
        assert stopped.status_code == 200  # as it stands by now: the other process hears of it soon

        async def cancelled():
            found = await http.get(f"/v1/responses/{ids[1]}", headers=headers)
            return found.json()["status"] == "cancelled"

        await wait_until_true(cancelled)


async def test_a_response_in_the_background_ends_with_its_process(trio, house_key, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    headers = {"authorization": f"Bearer {house_key}"}
    victim, *_ = list_workers(trio)
    with run_only(trio, victim):
        async with open_client(trio) as http:
            body = {"model": "m", "input": "go", "background": True}
            response_id = (await http.post("/v1/responses", json=body, headers=headers)).json()[
                "id"
            ]
            events = "SELECT count(*) FROM conversations_eventbatch WHERE last_number >= 3"
            await wait_until_true(
                lambda: trio.run_sql(events) == [(1,)] or trio.run_sql(events) == [(2,)]
            )
    os.kill(victim, signal.SIGKILL)
    async with open_client(trio) as http:
        http.timeout = httpx.Timeout(60)
        found = await http.get(f"/v1/responses/{response_id}?stream=true", headers=headers)
    lines = [line for line in found.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    last = json.loads(lines[-2].removeprefix("data: "))
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")


async def test_a_response_in_the_background_is_told_of_the_signal_that_ends_its_process(
    own_house, house_key, house_upstream
):
    own_house.environment["GRACE_SECONDS"] = "2"
    await asyncio.to_thread(own_house.start)
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    headers = {"authorization": f"Bearer {house_key}"}
    body = {"model": "m", "input": "go", "background": True, "stream": True}
    events = []
    async with (
        open_client(own_house) as http,
        http.stream("POST", "/v1/responses", json=body, headers=headers) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
                if events[-1]["type"] == "response.output_text.delta":
                    own_house.send_signal(signal.SIGTERM)
    assert (events[-1]["type"], events[-1]["response"]["error"]["reason"]) == (
        "response.failed",
        "server_shutdown",
    )
    assert await asyncio.to_thread(own_house.wait_for_end) == 0
    assert "Traceback" not in own_house.output
    rows = own_house.run_sql("SELECT status, error->>'code' FROM conversations_turn")
    assert rows == [("incomplete", "server_shutdown")]
    (told,) = own_house.run_sql(
        "SELECT events FROM conversations_eventbatch ORDER BY first_number DESC LIMIT 1"
    )
    assert told[0][-1] == events[-1]
