"""Addresses with bytes that no address should have."""

import json

from api.tests.endpoints.limits.request_bodies import CHAT
from api.tests.endpoints.session_cookies import sign_in
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.gateway import HELLO

JSON = {"content-type": "application/json"}


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
