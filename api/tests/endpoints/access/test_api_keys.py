"""Who may ask: API keys, in every way they are given, and for how long."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from api.models import ApiKey
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import DONE, Gate, send_stream

ENDPOINTS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
]
PROMISED_SECONDS = 1.0  # in which a revoked key or a disabled token stops working


async def send_with_headers(gateway, door, *lines):
    """One request on a bare connection, with exactly these header lines."""
    method, path = door
    body = {"model": "m", "prompt": "Hi", "input": "Hi", "messages": HELLO}
    wanted = {
        "chat": ("model", "messages"),
        "comp": ("model", "prompt"),
        "embe": ("model", "input"),
    }.get(path[4:8], ())
    data = json.dumps({name: body[name] for name in wanted}).encode() if wanted else b""
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", *lines]
    if wanted:
        head += [b"Content-Type: application/json", b"Content-Length: %d" % len(data)]
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"\r\n".join(head) + b"\r\n\r\n" + data)
        return await wire.receive_answer()


@pytest.mark.parametrize("door", ENDPOINTS, ids=[path for _, path in ENDPOINTS])
async def test_a_key_is_given_as_bearer_or_x_api_key(gateway, upstream, alice, door):
    key = alice.key.encode()
    for lines in (
        [b"Authorization: Bearer " + key],
        [b"authorization:bearer   " + key + b" "],
        [b"X-Api-Key: " + key],
        [b"api-key: " + key],
        [b"api-key: " + key, b"X-Api-Key: " + key],
        [b"X-Api-Key: " + key, b"Authorization: Bearer " + key],
    ):
        assert (await send_with_headers(gateway, door, *lines)).status == 200, lines


async def test_without_a_good_key_nothing_is_answered_and_nobody_is_asked(
    gateway, upstream, alice, subtests
):
    for door in ENDPOINTS:
        with subtests.test(door=door):
            key = alice.key.encode()
            values = (
                b"",
                b"Bearer",
                b"Bearer ",
                b"Basic " + key,
                key,
                b"Bearer " + key + b"x",
                b"Bearer " + key[:-1],
            )
            odd = (
                b"Bearer sk-ps-unknown",
                b"Bearer " + b"x" * 8192,
                b"Bearer ' OR 1=1 --",
                b"Bearer \xfc\xff",
                b"Bearer a b",
            )
            wrong = [[b"Authorization: " + value] for value in values + odd]
            for lines in ([], [b"X-Api-Key: sk-ps-unknown"], [b"X-Api-Key:"], *wrong):
                answer = await send_with_headers(gateway, door, *lines)
                assert answer.status == 401, lines
                assert answer.error["type"] == "invalid_request_error"
                assert answer.error["code"] == "invalid_api_key"
                assert answer.headers["www-authenticate"] == "Bearer"
            assert upstream.requests == []
            assert await rows.read_usage_records() == []


async def test_two_different_keys_in_one_request_are_refused(
    gateway, upstream, alice, mallory, subtests
):
    for door in ENDPOINTS:
        with subtests.test(door=door):
            for lines in (
                (f"Authorization: Bearer {alice.key}", f"X-Api-Key: {mallory.key}"),
                (f"Authorization: Bearer {alice.key}", f"api-key: {mallory.key}"),
                (f"X-Api-Key: {alice.key}", f"api-key: {mallory.key}"),
            ):
                answer = await send_with_headers(gateway, door, *map(str.encode, lines))
                assert answer.status == 400
                assert answer.error["code"] == "ambiguous_credentials"
                assert upstream.requests == []


async def test_unknown_revoked_and_expired_keys_and_those_of_inactive_users_get_the_same_answer(
    gateway, alice
):
    people = {
        name: await run_in_thread(rows.create_person, name)
        for name in ("revoked", "expired", "inactive")
    }

    def spoil():
        ApiKey.objects.filter(pk=people["revoked"].row.pk).revoke()
        past = datetime.now(UTC) - timedelta(seconds=1)
        ApiKey.objects.filter(pk=people["expired"].row.pk).update(expires_at=past)
        type(people["inactive"].user).objects.filter(pk=people["inactive"].user.pk).update(
            is_active=False
        )

    await run_in_thread(spoil)
    unknown = await gateway.request_chat("sk-ps-unknown")
    for person in people.values():
        for answer in (
            await gateway.request_chat(person.key),
            await gateway.send_request("GET", "/v1/models", person.key),
        ):
            assert (answer.status, answer.body) == (401, unknown.body)


async def test_a_key_expires_while_it_is_in_use(gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key)).status == 200
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).update, expires_at=soon)
    await gateway.reload_rows()

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused)
    assert datetime.now(UTC) >= soon


@pytest.mark.parametrize("how", ["revoked", "deleted", "user inactive"])
async def test_a_key_stops_working_within_a_second(gateway, upstream, alice, mallory, how):
    assert (await gateway.request_chat(alice.key)).status == 200

    def stop():
        mine = ApiKey.objects.filter(pk=alice.row.pk)
        if how == "revoked":
            mine.revoke()
        elif how == "deleted":
            mine.delete()
        else:
            type(alice.user).objects.filter(pk=alice.user.pk).update(is_active=False)

    await run_in_thread(stop)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused, PROMISED_SECONDS)
    assert (await gateway.request_chat(mallory.key)).status == 200


async def test_a_new_key_works_at_once(gateway, upstream, alice):
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    fresh = await run_in_thread(rows.create_person, "fresh")
    assert (await gateway.request_chat(fresh.key)).status == 200


async def test_a_running_stream_outlives_its_revoked_key(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).revoke)
        await gateway.reload_rows()
        gate.open()
        assert (await reading.read_rest()).is_complete


async def test_the_last_use_of_a_key_is_written(gateway, upstream, alice, monkeypatch):
    monkeypatch.setattr("api.relay.gateway.LAST_USE_WRITE_SECONDS", 0.01)
    await gateway.restart_server()
    before = datetime.now(UTC)
    await gateway.request_chat(alice.key)

    async def used_at():
        return (await rows.reload_row(alice.row)).last_used_at

    assert await wait_until_true(used_at) >= before
