"""Many requests at once: none gets another one's answer, none is lost, nothing is left behind."""

import asyncio
import random

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import (
    DONE,
    Gate,
    answer_honestly,
    build_event,
    encode_chunked,
    encode_response_head,
    keep_silent,
    send_reply,
)


def words_of(exchange):
    return exchange.request.json["messages"][0]["content"].split("|")


async def parrot(exchange):
    """Say back the prompt, in pieces, at a pace of its own; now and then close the connection
    behind the answer.
    """
    chance = random.Random(exchange.request.body)
    closing = chance.random() < 0.3
    headers = {"connection": "close"} if closing else {}
    if exchange.request.json.get("stream"):
        await exchange.send(
            encode_response_head(
                200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"} | headers
            )
        )
        for said in (
            *speech.content_chunks(*words_of(exchange)),
            speech.chat_chunk(finish="stop"),
            DONE,
        ):
            await exchange.play_pieces(encode_chunked(build_event(said)))
            await asyncio.sleep(chance.random() / 200)
        await exchange.send(b"0\r\n\r\n")
    else:
        await asyncio.sleep(chance.random() / 100)
        await send_reply(speech.chat_completion("".join(words_of(exchange))), **headers)(exchange)
    if closing:
        exchange.writer.close()


async def test_nobody_gets_another_ones_answer(gateway, upstream, alice):
    upstream.set_default_script(parrot)

    async def visit(number):
        prompt = "|".join(f"{number}-{part};" for part in range(number % 7 + 1))
        streams, leaves = bool(number % 2), number % 5 == 3
        messages = [{"role": "user", "content": prompt}]
        if leaves:
            async with gateway.open_stream(alice.key, messages=messages) as reading:
                await reading.read_until(f"{number}-0;")
            return
        answer = await gateway.request_chat(alice.key, messages=messages, stream=streams)
        assert answer.text == prompt.replace("|", "")
        assert answer.is_complete if streams else answer.status == 200

    await asyncio.gather(*(visit(number) for number in range(150)))

    async def written():
        return len(await rows.read_usage_records()) == 150

    await wait_until_true(written)
    assert {row.status for row in await rows.read_usage_records()} <= {"complete", "abandoned"}


async def test_hundreds_may_be_in_flight_at_the_same_time(gateway, upstream, alice):
    gate = Gate()

    async def wait(exchange):
        await gate.wait_until_open()
        await answer_honestly()(exchange)

    upstream.set_default_script(wait)
    asked = [
        asyncio.create_task(gateway.request_chat(alice.key, stream=bool(number % 2)))
        for number in range(200)
    ]
    await upstream.wait_for_request(200)
    assert gateway.inner.requests_in_flight == 200
    gate.open()
    assert {(await one).status for one in asked} == {200}
    assert len(await rows.read_usage_records()) == 200
    assert gateway.inner.requests_in_flight == 0


@pytest.mark.settings(PING_SECONDS=0.002)
async def test_pings_never_come_between_or_behind(gateway, upstream, alice):
    async def dawdling(exchange):
        chance = random.Random(exchange.request.body)
        await exchange.send(encode_response_head(200, {"content-type": "text/event-stream"}))
        for said in (*speech.content_chunks("a", "b", "c"), speech.chat_chunk(finish="stop"), DONE):
            await exchange.play_pieces(build_event(said))
            await asyncio.sleep(chance.random() / 100)
        exchange.writer.close()

    upstream.set_default_script(dawdling)
    asked = [gateway.request_chat(alice.key, stream=True, seed=number) for number in range(60)]
    for answer in await asyncio.gather(*asked):
        assert answer.status == 200
        assert answer.text == "abc"
        assert answer.is_complete
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_tokens_are_shared_out_evenly(gateway, upstream, alice, three):
    await asyncio.gather(*(gateway.request_chat(alice.key) for _ in range(90)))
    bearers = [asked.bearer_token for asked in upstream.requests]
    assert {bearers.count(f"sk-up-{number}") for number in (1, 2, 3)} == {30}


@pytest.mark.settings(UPSTREAM_IDLE_SECONDS=0.05)
async def test_an_idle_connection_is_not_kept_for_ever(gateway, upstream, alice):
    for _ in range(2):
        assert (await gateway.request_chat(alice.key)).status == 200
        await asyncio.sleep(0.1)  # longer than a connection may idle
    assert upstream.connections == 2


async def test_a_connection_that_the_upstream_wants_closed_is_not_used_again(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_reply(speech.chat_completion(), connection="close"), answer_honestly()
    )
    assert (await gateway.request_chat(alice.key)).status == 200
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.connections == 2


async def test_a_slow_name_server_keeps_nobody_else_waiting(
    gateway, upstream, alice, second, slow_names
):
    """The second provider is known by its name too, so that both need a look-up."""
    other, row = second
    fake = await run_in_thread(Provider.objects.get, name="fake")
    named = other.url.replace("127.0.0.1", "quick.example")
    await run_in_thread(
        rows.move_providers, fake, base_url="https://slow.example/v1", connect_seconds=0.2
    )
    await run_in_thread(rows.move_providers, row, base_url=named)
    await run_in_thread(rows.create_model, row, "n")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert (await rows.read_only_usage_record()).attempts[0]["outcome"] == "UpstreamTimeout"
    crowd = [gateway.request_chat(alice.key) for _ in range(12)]
    answers = await asyncio.gather(*crowd, gateway.request_chat(alice.key, model="n"))
    assert {answer.status for answer in answers} == {200}
    assert slow_names.count("slow.example") <= 2


async def test_a_silent_upstream_keeps_nobody_else_waiting(gateway, upstream, alice, second):
    other, _ = second
    upstream.set_default_script(keep_silent)
    waiting = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    await run_in_thread(
        rows.create_model, (await run_in_thread(Provider.objects.get, name="second")), "n"
    )
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, model="n")).status == 200
    assert len(other.requests) == 1
    waiting.cancel()
    await upstream.last_exchange.wait_until_left()
