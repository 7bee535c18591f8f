"""Strangers may send little: bodies without a valid key or session."""

import asyncio
import json
from itertools import product

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError

from api.tests.endpoints.limits.request_bodies import CONVERSATIONS, encode_post_head
from api.tests.endpoints.session_cookies import sign_in
from providers.database.database_threads import run_in_thread

JSON = {"content-type": "application/json"}


def encode_chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- strangers ------------------------------------------------------------------------------------
STRANGERS = {
    "a bogus key": ("Authorization: Bearer bogus",),
    "a bogus x-api-key": ("X-Api-Key: bogus",),
    "a key in another scheme": ("Authorization: Basic Ym9ndXM6",),
    "two keys": ("Authorization: Bearer one", "X-Api-Key: two"),
    "a cookie": ("Cookie: a=b",),
    "a bogus session": ("Cookie: sessionid=0123456789abcdefghijklmnopqrstuv",),
    "an unknown api-key": ("api-key: bogus",),
    "nothing": (),
}
PATHS = [
    "/v1/conversations",
    "/v1/models",
    "/v1/files",
    "/v1/sessions",
    "/admin/login/",
    "/",
    "/healthz",
]


async def test_no_header_of_a_stranger_lifts_the_limit_of_strangers(gateway, subtests):
    for path, (name, headers) in product(PATHS, STRANGERS.items()):
        with subtests.test(path=path, stranger=name):
            async with gateway.open_bare_connection() as wire:
                await wire.send(encode_post_head(path, *headers, length=33_000))
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
                await wire.send(encode_post_head("/v1/conversations", *headers))
                answering = asyncio.create_task(wire.receive_answer())
                for _ in range(64):
                    if answering.done():
                        break
                    await wire.send(encode_chunk(b" " * 8_192))
                    await asyncio.sleep(0)
                answer = await answering
            assert answer.status in (400, 401, 413)


async def test_a_revoked_key_is_one_of_a_stranger(gateway, alice):
    await run_in_thread(alice.row.delete)
    await gateway.reload_rows()
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            encode_post_head(CONVERSATIONS, f"Authorization: Bearer {alice.key}", length=33_000)
        )
        answer = await wire.receive_answer()
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_valid_key_may_send_much(gateway, alice):
    content = json.dumps({"metadata": {}, "unknown": "x" * 300_000})
    answer = await gateway.send_request(
        "POST", CONVERSATIONS, alice.key, content=content, headers=JSON
    )
    assert (answer.status, answer.json["object"]) == (200, "conversation")


# --- sessions -------------------------------------------------------------------------------------
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
def raise_unavailable(*_):
    raise OperationalError("the database is away")


async def test_while_the_database_is_away_no_key_is_called_invalid(gateway, alice, monkeypatch):
    monkeypatch.setattr("api.authentication.credentials.load_caller", raise_unavailable)
    gateway.inner.keyring.clear_callers()
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            encode_post_head(CONVERSATIONS, f"Authorization: Bearer {alice.key}", length=33_000)
        )
        answer = await wire.receive_answer()
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
    answer = await gateway.send_request("GET", "/healthz", alice.key)
    assert answer.status == 200


async def test_while_the_database_is_away_no_session_is_called_over(gateway, operator, monkeypatch):
    session = await run_in_thread(sign_in, operator.user)
    monkeypatch.setattr("proxysite.server.caller_identity.find_session_user", raise_unavailable)
    answer = await send_form(gateway, session)
    assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
