"""/v1/requests/{id}: how one request went, for its owner or staff."""

import pytest

from api.models import Price
from api.tests.endpoints.account.usage_rows import NOW, ask_request, create_record
from providers.database.database_threads import run_in_thread

ATTEMPT = {
    "provider": "fake",
    "model": "upstream-model",
    "token": "00000000-0000-0000-0000-000000000063",
    "outcome": "RateLimited",
    "reason": "slow down at 10.0.0.1",
    "status": 429,
    "connect_ms": 1.5,
    "first_byte_ms": None,
    "total_ms": 2.5,
}


async def test_the_owner_sees_how_a_request_went(gateway, alice, upstream):
    chat = await gateway.request_chat(alice.key)
    answer = await ask_request(gateway, alice, chat.headers["x-request-id"])
    assert answer.status == 200
    body = answer.json
    assert body["id"] == chat.headers["x-request-id"]
    assert (body["object"], body["status"], body["http_status"]) == ("request", "complete", 200)
    assert (body["model"], body["stream"], body["error_code"]) == ("m", False, None)
    assert body["usage"]["prompt_tokens"] > 0
    assert body["cost_usd"] is None
    (attempt,) = body["attempts"]
    assert (attempt["provider"], attempt["outcome"], attempt["status"]) == ("fake", "answered", 200)
    assert not {"token", "reason"} & attempt.keys()
    assert "token_id" not in body


async def test_the_owner_sees_no_token_and_no_text_of_an_upstream(gateway, alice):
    record = await run_in_thread(lambda: create_record(alice, attempts=[ATTEMPT]))
    answer = await ask_request(gateway, alice, str(record))
    assert "10.0.0.1" not in answer.body.decode()
    assert ATTEMPT["token"] not in answer.body.decode()
    assert answer.json["cost_usd"] == "0.001500"


@pytest.mark.settings(NAME_UPSTREAMS=False)
async def test_upstreams_that_are_not_named_stay_so(gateway, alice):
    record = await run_in_thread(lambda: create_record(alice, attempts=[ATTEMPT]))
    (attempt,) = (await ask_request(gateway, alice, str(record))).json["attempts"]
    assert attempt == {
        name: ATTEMPT[name]
        for name in ("outcome", "status", "connect_ms", "first_byte_ms", "total_ms")
    }


async def test_staff_see_everything_of_anybody(gateway, operator, alice, provider, token):
    def create():
        price = Price.objects.create(provider=provider, upstream_model="big", valid_from=NOW)
        return create_record(
            alice, attempts=[ATTEMPT], provider=provider, token=token, price=price
        ), price

    record, price = await run_in_thread(create)
    body = (await ask_request(gateway, operator, str(record))).json
    assert body["attempts"] == [ATTEMPT]
    assert (body["user_id"], body["token_id"]) == (alice.user.pk, str(token.pk))
    assert (body["price_id"], body["price"]) == (price.pk, str(price))


async def test_anothers_and_unknown_ids_get_the_same_answer(gateway, alice, mallory):
    record = await run_in_thread(create_record, alice)
    others = await ask_request(gateway, mallory, str(record))
    unknown = await ask_request(gateway, mallory, f"req_{'7' * 32}")
    assert others.status == unknown.status == 404
    assert others.json["error"]["code"] == "request_not_found"
    assert others.body.decode().replace(record.pk.hex, "7" * 32) == unknown.body.decode()
    wrong = await ask_request(gateway, mallory, "req_1")
    assert (wrong.status, wrong.json["error"]["code"]) == (404, "request_not_found")
