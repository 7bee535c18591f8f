"""What may come in: little from strangers, and together no more than this process can hold."""

import asyncio
import json
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO, build_raw_request_head
from proxysite.testing.upstream import DONE, Gate, answer_honestly, keep_silent, send_stream

CHAT, CONVERSATIONS = "/v1/chat/completions", "/v1/conversations"
JSON = {"content-type": "application/json"}
CHUNKED = "Transfer-Encoding: chunked\r\n"


def head_of(path, *headers, length=None):
    """The head of a POST; without a length the body comes in chunks."""
    framing = CHUNKED if length is None else f"Content-Length: {length}\r\n"
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}{framing}\r\n".encode()


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def chat_body(size):
    """A valid chat body of exactly `size` bytes."""
    empty = json.dumps({"model": "m", "messages": [{"role": "user", "content": ""}]}).encode()
    return empty.replace(b'""', b'"%b"' % (b"x" * (size - len(empty))))


async def post(gateway, key, size):
    return await gateway.send_request("POST", CHAT, key, content=chat_body(size), headers=JSON)


# --- strangers ------------------------------------------------------------------------------------
STRANGERS = {
    "a bogus key": ("Authorization: Bearer bogus",),
    "a bogus x-api-key": ("X-Api-Key: bogus",),
    "a key in another scheme": ("Authorization: Basic Ym9ndXM6",),
    "two keys": ("Authorization: Bearer one", "X-Api-Key: two"),
    "a cookie": ("Cookie: a=b",),
    "a bogus session": ("Cookie: sessionid=0123456789abcdefghijklmnopqrstuv",),
    "nothing": (),
}
PATHS = [
    "/v1/conversations",
    "/v1/models",
    "/v1/files",
    "/v1/sessions",
    "/v1/nothing",
    "/admin/login/",
    "/",
    "/healthz",
]


async def test_no_header_of_a_stranger_lifts_the_limit_of_strangers(gateway, subtests):
    for path, (name, headers) in product(PATHS, STRANGERS.items()):
        with subtests.test(path=path, stranger=name):
            async with gateway.open_bare_connection() as wire:
                await wire.send(head_of(path, *headers, length=33_000))
                answer = await wire.receive_answer()
            assert answer.status in (400, 401, 413)
            assert answer.error["code"] in (
                "invalid_api_key",
                "body_too_large",
                "ambiguous_credentials",
            )


async def test_a_strangers_body_is_refused_when_it_grows_beyond_the_limit(gateway, subtests):
    for headers in STRANGERS.values():
        with subtests.test(headers=headers):
            async with gateway.open_bare_connection() as wire:
                await wire.send(head_of("/v1/conversations", *headers))
                answering = asyncio.create_task(wire.receive_answer())
                for _ in range(64):
                    if answering.done():
                        break
                    await wire.send(chunk(b" " * 8_192))
                    await asyncio.sleep(0)
                answer = await answering
            assert answer.status in (400, 401, 413)


async def test_a_revoked_key_is_one_of_a_stranger(gateway, alice):
    await run_in_thread(alice.row.delete)
    await gateway.reload_rows()
    async with gateway.open_bare_connection() as wire:
        await wire.send(head_of(CONVERSATIONS, f"Authorization: Bearer {alice.key}", length=33_000))
        answer = await wire.receive_answer()
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_valid_key_may_send_much(gateway, alice):
    content = json.dumps({"metadata": {}, "unknown": "x" * 300_000})
    answer = await gateway.send_request(
        "POST", CONVERSATIONS, alice.key, content=content, headers=JSON
    )
    assert (answer.status, answer.json["object"]) == (200, "conversation")


# --- sessions -------------------------------------------------------------------------------------
def sign_in(user):
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value


async def send_form(gateway, session, size=200_000):
    form = f"username={'x' * size}"
    headers = {
        "cookie": f"sessionid={session}",
        "content-type": "application/x-www-form-urlencoded",
    }
    return await gateway.send_request("POST", "/admin/login/", content=form, headers=headers)


async def test_who_has_signed_in_may_send_much(gateway, operator):
    session = await run_in_thread(sign_in, operator.user)
    assert (
        await send_form(gateway, session)
    ).status == 403  # Django misses its CSRF token: it has read the form


async def test_a_session_that_is_over_is_a_strangers(gateway, operator):
    session = await run_in_thread(sign_in, operator.user)
    await run_in_thread(Session.objects.all().delete)
    assert (await send_form(gateway, session)).status == 413


async def test_a_session_of_a_user_who_was_switched_off_is_a_strangers(gateway, operator):
    session = await run_in_thread(sign_in, operator.user)
    await run_in_thread(User.objects.update, is_active=False)
    assert (await send_form(gateway, session)).status == 413


async def test_a_session_from_before_the_password_changed_is_a_strangers(gateway, operator):
    session = await run_in_thread(sign_in, operator.user)
    await run_in_thread(User.objects.update, password="changed")
    assert (await send_form(gateway, session)).status == 413
    assert await run_in_thread(Session.objects.count) == 1  # the question changed nothing


# --- a database that is away ----------------------------------------------------------------------
def unavailable(*_):
    raise OperationalError("the database is away")


async def test_while_the_database_is_away_no_key_is_called_invalid(gateway, alice, monkeypatch):
    monkeypatch.setattr("api.authentication.credentials.load_caller", unavailable)
    gateway.inner.keyring.clear_callers()
    async with gateway.open_bare_connection() as wire:
        await wire.send(head_of(CONVERSATIONS, f"Authorization: Bearer {alice.key}", length=33_000))
        answer = await wire.receive_answer()
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
    answer = await gateway.send_request("GET", "/healthz", alice.key)
    assert answer.status == 200


async def test_while_the_database_is_away_no_session_is_called_over(gateway, operator, monkeypatch):
    session = await run_in_thread(sign_in, operator.user)
    monkeypatch.setattr("proxysite.server.caller_identity.find_session_user", unavailable)
    answer = await send_form(gateway, session)
    assert (answer.status, answer.error["code"]) == (503, "database_unavailable")


# --- bytes ----------------------------------------------------------------------------------------
@pytest.mark.settings(BODIES_BYTES_PER_KEY=250_000)
async def test_the_bodies_of_one_key_are_bounded_together(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent)
    upstream.set_default_script(answer_honestly())
    running = asyncio.create_task(post(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    answer = await post(gateway, alice.key, 100_000)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.error["type"] == "requests"
    assert answer.headers["retry-after"] == "1"
    assert (await post(gateway, alice.key, 60_000)).status == 200  # small ones are not counted
    assert (await post(gateway, mallory.key, 200_000)).status == 200
    running.cancel()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)
    assert (await post(gateway, alice.key, 200_000)).status == 200


async def test_a_body_that_is_answered_in_the_background_counts_until_its_answer_has_ended(
    gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, *speech.streamed_completion("two"), DONE)
    )
    body = {"model": "m", "input": "x" * 200_000, "background": True}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.json["status"]) == (200, "queued")
    await gate.wait_until_reached()
    assert gateway.inner.requests_in_flight == 0
    assert gateway.body_budget.memory_bytes > 200_000
    gate.open()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)


@pytest.mark.settings(BODIES_BYTES=250_000)
async def test_the_bodies_of_all_callers_are_bounded_together(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent)
    upstream.set_default_script(answer_honestly())
    running = asyncio.create_task(post(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    for path in (CHAT, CONVERSATIONS):
        answer = await gateway.send_request(
            "POST", path, mallory.key, content=chat_body(100_000), headers=JSON
        )
        assert (answer.status, answer.error["code"]) == (503, "too_many_requests_in_flight")
        assert answer.headers["retry-after"] == "1"
    assert (await post(gateway, mallory.key, 60_000)).status == 200
    running.cancel()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)
    assert (await post(gateway, mallory.key, 200_000)).status == 200


@pytest.mark.settings(BODIES_BYTES=250_000)
@pytest.mark.parametrize("path", [CHAT, CONVERSATIONS])
async def test_a_body_without_room_is_refused_before_it_is_read(
    gateway, upstream, alice, mallory, path
):
    upstream.queue_scripts(keep_silent)
    running = asyncio.create_task(post(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(mallory.key, 100_000, path=path))
        assert (await wire.receive_answer()).status == 503
    running.cancel()


@pytest.mark.settings(BODY_MEMORY_BYTES=80_000, BODIES_DISK_BYTES=250_000)
@pytest.mark.parametrize("path", [CHAT, CONVERSATIONS])
async def test_a_large_body_waits_on_disk_until_it_is_whole(gateway, upstream, alice, path):
    body = chat_body(200_000)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, len(body), path=path) + body[:70_000])
        await wait_until_true(lambda: gateway.body_budget.memory_bytes >= 65_536)
        await wire.send(body[70_000:150_000])
        await wait_until_true(lambda: gateway.body_budget.disk_bytes == 150_000)
        assert gateway.body_budget.memory_bytes == 0
        refused = await gateway.send_request(
            "POST", path, alice.key, content=chat_body(120_000), headers=JSON
        )
        assert (refused.status, refused.error["code"]) == (503, "too_many_requests_in_flight")
        await wire.send(body[150_000:])
        assert (await wire.receive_answer()).status == 200
    if path == CHAT:
        assert upstream.requests[0].json["messages"] == json.loads(body)["messages"]


@pytest.mark.settings(BODY_MEMORY_BYTES=80_000)
async def test_a_caller_who_leaves_in_the_middle_leaves_nothing_behind(gateway, alice):
    for path in (CHAT, CONVERSATIONS):
        async with gateway.open_bare_connection() as wire:
            await wire.send(build_raw_request_head(alice.key, 200_000, path=path) + b"x" * 150_000)
            await wait_until_true(lambda: gateway.body_budget.disk_bytes == 150_000)
        await wait_until_true(lambda: gateway.held_resources() == (0, 0, 0, 0))


@pytest.mark.settings(BODIES_BYTES=100_000)
async def test_a_body_that_could_never_be_held_is_too_large(gateway, alice):
    answer = await post(gateway, alice.key, 100_001)
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


# --- requests -------------------------------------------------------------------------------------
@pytest.mark.settings(REQUESTS_IN_FLIGHT_PER_KEY=2)
async def test_the_running_requests_of_one_key_are_bounded(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent, keep_silent)
    running = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(2)]
    await upstream.wait_for_request(2)
    for answer in (
        await gateway.request_chat(alice.key),
        await gateway.send_request("GET", "/v1/models", alice.key),
    ):
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.error["type"] == "requests"
        assert answer.headers["retry-after"] == "1"
    assert (await gateway.request_chat(mallory.key)).status == 200
    for one in running:
        one.cancel()
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.mark.settings(REQUESTS_IN_FLIGHT=1)
async def test_requests_are_counted_on_every_endpoint_and_probes_are_answered_all_the_same(
    gateway, upstream, alice
):
    upstream.queue_scripts(keep_silent)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 100, path=CONVERSATIONS))
        running = asyncio.create_task(gateway.request_chat(alice.key))
        await upstream.wait_for_request()
        await wait_until_true(lambda: gateway.held_resources()[2] == 1)
        for path in ("/v1/models", "/health", "/admin/login/", "/"):
            answer = await gateway.send_request("GET", path)
            assert (answer.status, answer.error["code"]) == (503, "too_many_requests_in_flight"), (
                path
            )
            assert answer.headers["retry-after"] == "1"
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 200
    running.cancel()


@pytest.mark.settings(REQUESTS_IN_FLIGHT=2)
async def test_slow_strangers_take_no_places_from_others(gateway, alice):
    async with (
        gateway.open_bare_connection() as one,
        gateway.open_bare_connection() as two,
        gateway.open_bare_connection() as three,
    ):
        for wire in (one, two):
            await wire.send(head_of("/v1/models", length=100))
        await wire.send(b"x")
        await wait_until_true(lambda: gateway.waiting_count == 2)
        await three.send(head_of("/v1/models", length=100))
        assert (await three.receive_answer()).status == 503
        assert (await gateway.send_request("GET", "/v1/models", alice.key)).status == 200
        assert (await gateway.send_request("POST", CONVERSATIONS, alice.key, json={})).status == 200


# --- addresses ------------------------------------------------------------------------------------
async def test_a_path_that_is_not_utf_8_is_refused(gateway, upstream, alice, subtests):
    cases = [
        "/v1/chat/completions/%ff",
        "/v1/conversations/%fe",
        "/v1/sessions/a%C3",
        "/%ff",
        "/v1/sessions/%ED%A0%80",
    ]
    for path in cases:
        with subtests.test(path=path):
            body = {"model": "m", "messages": HELLO}
            method = "POST" if path.startswith(CHAT) else "GET"
            answer = await gateway.send_request(method, path, alice.key, json=body)
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
            assert upstream.requests == []
            assert await rows.read_usage_records() == []


async def test_an_address_with_a_nul_is_refused(gateway, alice, subtests):
    cases = [
        "/v1/chat/completions/a%00",
        "/v1/conversations/conv_%00",
        "/v1/files/file-%00",
        "/v1/%00",
        "/v1/models?after=%00",
    ]
    for path in cases:
        with subtests.test(path=path):
            method = "POST" if path.startswith(CHAT) else "GET"
            answer = await gateway.send_request(
                method, path, alice.key, json={"model": "m", "messages": HELLO}
            )
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


async def test_the_admin_survives_a_nul(gateway, operator):
    headers = {"cookie": f"sessionid={await run_in_thread(sign_in, operator.user)}"}
    for address in (
        "/admin/api/usagerecord/?status__exact=%00",
        "/admin/tokens/upstreamtoken/?q=%00",
    ):
        assert (await gateway.send_request("GET", address, headers=headers)).status == 400
    body = json.dumps({"provider": "\0"})
    answer = await gateway.send_request(
        "POST", "/admin/tokens/reset-all", operator.key, content=body, headers=JSON
    )
    assert answer.status == 400


async def test_a_path_with_other_characters_than_ascii_is_one(gateway, upstream, alice):
    for path in ("/v1/chat/completions/%E4%B8%AD", "/v1/chat/completions/%EF%BF%BD"):
        assert (
            await gateway.send_request(
                "POST",
                path,
                alice.key,
                json={"model": "m", "messages": [{"role": "user", "content": "x"}]},
            )
        ).status == 200
