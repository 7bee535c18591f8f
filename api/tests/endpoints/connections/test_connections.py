"""Connections of callers: kept, pipelined, old, broken, hostile; and an end that lets running
answers finish.
"""

import asyncio

import pytest

from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import DONE, Gate, keep_silent, send_stream

GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"


async def test_one_connection_serves_many_requests(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        for streams in (False, True, False, True):
            await wire.send(build_raw_request(alice.key, stream=streams))
            answer = await wire.receive_answer()
            assert answer.status == 200
            assert answer.text == "Hello there!"
        await wire.send(build_raw_request("sk-ps-unknown"))
        assert (await wire.receive_answer()).status == 401
        await wire.send(build_raw_request(alice.key))
        assert (await wire.receive_answer()).status == 200


async def test_requests_sent_at_once_are_answered_in_their_order(gateway, upstream, alice):
    words = ["one", "two", "three"]
    for word in words:
        upstream.queue_scripts(
            send_stream(*speech.content_chunks(word), speech.chat_chunk(finish="stop"), DONE)
        )
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"".join(build_raw_request(alice.key, stream=True) for _ in words))
        assert [(await wire.receive_answer()).text for _ in words] == words
    assert len(await rows.read_usage_records()) == 3


async def test_a_client_that_wants_to_close_is_obeyed(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, headers="Connection: close\r\n"))
        assert (await wire.receive_answer()).status == 200
        assert await wire.read_to_end() == b""


async def test_an_old_client_gets_an_answer_that_ends_with_the_connection(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        whole = await wire.read_to_end()
    assert b" 200 " in whole.splitlines()[0]
    assert b"transfer-encoding: chunked" not in whole.lower()
    assert whole.endswith(b"}")


async def test_an_old_client_gets_a_stream_that_ends_with_the_connection(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            build_raw_request(alice.key, stream=True).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        )
        whole = await wire.read_to_end()
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_an_end_by_force_before_the_first_byte_is_an_error_object(
    gateway, upstream, alice, streams, caplog
):
    upstream.queue_scripts(keep_silent)
    asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
    await upstream.wait_for_request()
    for task in list(gateway.request_tasks):
        task.cancel()
    answer = await asking
    caplog.clear()  # the server logs that the application did not answer
    assert (answer.status, answer.error["code"]) == (503, "server_shutdown")


async def test_a_failure_that_nobody_caught_is_an_error_object(gateway, monkeypatch, caplog):
    async def fail(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("proxysite.server.bounded_handler.BoundedHandler.admit_request", fail)
    answer = await gateway.send_request("GET", "/v1/models")
    caplog.clear()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")


@pytest.mark.settings(HEAD_SECONDS=0.1)
@pytest.mark.parametrize(
    "behind", [b"POST /v1/chat", b"junk junk junk\r\n\r\n"], ids=["a slow head", "junk"]
)
async def test_what_comes_behind_a_request_does_not_break_into_its_answer(
    gateway, upstream, alice, behind
):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("one"), upstream.gate, speech.chat_chunk(finish="stop"), DONE
        )
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        seen = await wire.reader.readuntil(b"one")
        await wire.send(behind)
        await asyncio.sleep(0.3)  # longer than a head may take
        upstream.gate.open()
        seen += await wire.read_to_end()
    whole, end, rest = seen.partition(b"\r\n0\r\n\r\n")
    assert b"HTTP/1.1 4" not in whole
    if end:
        assert b"[DONE]" in whole
        assert rest == b"" or rest.startswith(b"HTTP/1.1 4")
    assert len(await wait_until_true(rows.read_usage_records)) == 1


BROKEN = {
    "noise": b"\x00\x01\x02\x03\r\n\r\n",
    "words": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "a space in the name": GET + b"X Y: 1\r\n\r\n",
    "a name without colon": GET + b"nonsense\r\n\r\n",
    "a vertical tab": GET + b"X: a\x0bTransfer-Encoding: chunked\r\n\r\n",
    "NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "two lengths": GET + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed length": GET + b"Content-Length: +3\r\n\r\nabc",
    "a length with underscore": GET + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "a negative length": GET + b"Content-Length: -1\r\n\r\n",
    "an unknown coding": GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no number as chunk": GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/9": GET.replace(b"1.1", b"9.9") + b"\r\n",
}


async def test_what_is_no_valid_http_is_a_400_and_the_end(gateway, upstream, alice, subtests):
    for name, data in BROKEN.items():
        with subtests.test(data=name):
            async with gateway.open_bare_connection() as wire:
                await wire.send(data)
                answer = await wire.receive_answer()
                assert answer.status == 400
                assert answer.error["type"] == "invalid_request_error"
                assert await wire.read_to_end() == b""
            assert (await gateway.request_chat(alice.key)).status == 200


async def test_no_header_changes_the_address(gateway, alice, subtests):
    cases = [
        b"Daphne-Root-Path: /v1",
        b"X-Original-URL: /admin/",
        b"X-Rewrite-URL: /admin/",
        b"X-HTTP-Method-Override: DELETE",
        b"X-Forwarded-Host: evil.example",
        b"Script-Name: /v1",
    ]
    for line in cases:
        with subtests.test(line=line):
            async with gateway.open_bare_connection() as wire:
                head = b"GET /v1/admin/login/ HTTP/1.1\r\nHost: localhost\r\n"
                await wire.send(head + line + b"\r\n\r\n")
                answer = await wire.receive_answer()
            assert (answer.status, answer.error["code"]) == (404, "unknown_url")


async def test_an_odd_address_is_no_fault_of_ours(gateway, alice, subtests):
    cases = [b"/v1/%ff", b"/%ff", b"/v1/models/%00", b"/v1/models/%c3%28", b"/v1/" + b"a" * 5_000]
    for path in cases:
        with subtests.test(path=path):
            async with gateway.open_bare_connection() as wire:
                head = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
                await wire.send(head + b"Authorization: Bearer " + alice.key.encode() + b"\r\n\r\n")
                answer = await wire.receive_answer()
            assert answer.status in (400, 404)
            assert answer.error["type"] == "invalid_request_error"


async def test_an_unknown_host_is_refused_by_the_ordinary_doors(gateway, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        answer = await wire.receive_answer()
    assert answer.status in (400, 401)
    assert answer.error["type"] == "invalid_request_error"


async def test_a_query_string_changes_nothing(gateway, upstream, alice):
    answer = await gateway.send_request(
        "POST", "/v1/chat/completions?api_base=http://127.0.0.1:1&x=%ff", alice.key, json={}
    )
    assert answer.status == 400
    assert answer.error["param"] == "model"


# --- the end --------------------------------------------------------------------------------------
async def test_the_end_lets_running_answers_finish_and_takes_no_new_ones(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_bare_connection() as idle, gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        draining = asyncio.create_task(gateway.drain_server())
        assert await idle.read_to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            async with gateway.open_bare_connection():
                pass
        assert not draining.done()
        gate.open()
        answer = await reading.read_rest()
        assert answer.is_complete
    await draining
    assert (await rows.read_only_usage_record()).status == "complete"


@pytest.mark.settings(GRACE_SECONDS=0.2)
async def test_what_does_not_finish_within_the_grace_is_told_so(gateway, upstream, alice, caplog):
    upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        draining = asyncio.create_task(gateway.drain_server())
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "server_shutdown"
    await draining
    caplog.clear()
    row = await rows.read_only_usage_record()
    assert row.status in ("truncated", "interrupted", "abandoned")
    assert row.completion_tokens == 1


@pytest.mark.settings(GRACE_SECONDS=0.2)
async def test_a_whole_answer_that_does_not_finish_within_the_grace_is_an_error(
    gateway, upstream, alice, caplog
):
    upstream.queue_scripts(keep_silent)
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    draining = asyncio.create_task(gateway.drain_server())
    answer = await asking
    await draining
    caplog.clear()
    assert (answer.status, answer.error["code"]) == (503, "server_shutdown")
    assert len(await rows.read_usage_records()) == 1


async def test_nothing_is_left_when_everybody_is_gone(gateway, upstream, alice):
    for streams in (False, True):
        await gateway.request_chat(alice.key, stream=streams)
    await gateway.request_chat("sk-ps-unknown")
    assert gateway.inner.requests_in_flight == 0
    async with gateway.open_bare_connection() as wire:
        await wait_until_true(lambda: gateway.connection_count >= 1)
        wire.close_connection()
