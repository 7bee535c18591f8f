"""`Idempotency-Key`: one upstream call and one answer, however often a request is sent."""

import asyncio

import pytest

from api.models import IdempotentRequest
from api.tests.endpoints.idempotency.keyed_requests import is_empty, key_header, list_kept_requests
from api.tests.endpoints.late_answers import send_late
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO, build_raw_request
from proxysite.testing.upstream import Gate, answer_honestly, send_refusal, send_reply

PATHS = {
    "/v1/chat/completions": {"model": "m", "messages": HELLO},
    "/v1/completions": {"model": "m", "prompt": "Hello"},
    "/v1/embeddings": {"model": "m", "input": "Hello"},
    "/v1/responses": {"model": "m", "input": "Hello"},
}
ANSWERS = {
    "/v1/completions": speech.text_completion("Hello!"),
    "/v1/embeddings": speech.embedding_list([0.5, 0.25]),
}


@pytest.mark.parametrize("path", PATHS)
async def test_the_same_request_gets_the_same_answer_and_is_asked_once(
    gateway, upstream, alice, path
):
    upstream.set_default_script(
        send_reply(ANSWERS[path]) if path in ANSWERS else answer_honestly("Hello!")
    )
    first = await gateway.send_request(
        "POST", path, alice.key, json=PATHS[path], headers=key_header()
    )
    assert first.status == 200, first.body
    assert not {"idempotent-replayed", "idempotent-stored"} & set(first.headers)
    for _ in range(3):
        again = await gateway.send_request(
            "POST", path, alice.key, json=PATHS[path], headers=key_header()
        )
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert again.headers["cache-control"] == "no-store"
    assert len(upstream.requests) == 1
    assert len(await rows.read_usage_records()) == 1


async def test_requests_without_a_key_or_with_another_are_asked_each(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    for headers in ({}, {}, key_header("a"), key_header("b"), key_header("A")):
        answer = await gateway.request_chat(alice.key, headers=headers)
        assert (answer.status, "idempotent-replayed" in answer.headers) == (200, False)
    assert len(upstream.requests) == 5


async def test_another_body_or_endpoint_with_the_same_key_is_refused(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    first = await gateway.request_chat(alice.key, headers=key_header())
    other = [
        await gateway.request_chat(alice.key, headers=key_header(), temperature=0.5),
        await gateway.send_request(
            "POST", "/v1/responses", alice.key, json=PATHS["/v1/responses"], headers=key_header()
        ),
    ]
    for refused in other:
        assert (refused.status, refused.error["code"]) == (422, "idempotency_key_reused")
    assert len(upstream.requests) == 1
    assert (await gateway.request_chat(alice.key, headers=key_header())).body == first.body


async def test_while_the_first_runs_the_same_request_is_told_to_wait(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly("Hello!")))
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=key_header()))
    await upstream.wait_for_request()
    for _ in range(3):
        refused = await gateway.request_chat(alice.key, headers=key_header())
        assert (refused.status, refused.error["code"]) == (409, "idempotency_in_flight")
        assert refused.headers["retry-after"] == "1"
    reused = await gateway.request_chat(alice.key, headers=key_header(), temperature=1)
    assert reused.error["code"] == "idempotency_key_reused"
    gate.open()
    answer = await first
    assert answer.status == 200
    assert (await gateway.request_chat(alice.key, headers=key_header())).body == answer.body
    assert len(upstream.requests) == 1


async def test_of_many_at_once_one_is_answered_and_the_others_wait_or_get_its_answer(
    gateway, upstream, alice
):
    upstream.set_default_script(answer_honestly("Hello!"))
    found = await asyncio.gather(
        *(gateway.request_chat(alice.key, headers=key_header()) for _ in range(25))
    )
    assert {answer.status for answer in found} <= {200, 409}
    assert len({answer.body for answer in found if answer.status == 200}) == 1
    assert len(upstream.requests) == 1


async def test_a_key_is_its_users_alone_and_every_key_of_his_has_it(
    gateway, upstream, alice, mallory
):
    upstream.set_default_script(answer_honestly("Hello!"))
    first = await gateway.request_chat(alice.key, headers=key_header())
    other = await gateway.request_chat(mallory.key, headers=key_header())
    assert (other.status, "idempotent-replayed" in other.headers) == (200, False)
    assert other.json["id"] != first.json["id"]
    second = await run_in_thread(rows.create_person, "alice")
    assert (await gateway.request_chat(second.key, headers=key_header())).body == first.body
    assert len(upstream.requests) == 2


FINAL_ERRORS = {
    "refused here": ({"messages": []}, None, 400),
    "an unknown model": ({"model": "nobody"}, None, 404),
    "refused by the upstream": ({}, send_refusal(400, "Too long.", "context_length_exceeded"), 400),
}


@pytest.mark.parametrize("case", FINAL_ERRORS)
async def test_an_error_of_the_request_itself_is_kept(gateway, upstream, alice, case):
    body, script, status = FINAL_ERRORS[case]
    if script is not None:
        upstream.queue_scripts(script)
    first = await gateway.request_chat(alice.key, headers=key_header(), **body)
    asked = len(upstream.requests)
    again = await gateway.request_chat(alice.key, headers=key_header(), **body)
    assert (first.status, again.status) == (status, status)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    assert len(upstream.requests) == asked


@pytest.mark.parametrize("status", [429, 500, 503], ids=str)
@pytest.mark.settings(MAX_ATTEMPTS=1, REST_SECONDS=0.01, MAX_REST_SECONDS=0.02)
async def test_an_error_that_may_pass_is_not_kept_and_the_next_try_may_succeed(
    gateway, upstream, alice, status
):
    upstream.queue_scripts(send_refusal(status))
    assert (await gateway.request_chat(alice.key, headers=key_header())).status >= 429
    await wait_until_true(lambda: is_empty(IdempotentRequest))

    async def answered():
        answer = await gateway.request_chat(alice.key, headers=key_header())
        return answer.status == 200 and "idempotent-replayed" not in answer.headers

    await wait_until_true(answered)
    assert (await gateway.request_chat(alice.key, headers=key_header())).headers[
        "idempotent-replayed"
    ] == "true"


async def test_a_streamed_request_ignores_the_key(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    for _ in range(2):
        answer = await gateway.request_chat(alice.key, headers=key_header("x" * 999), stream=True)
        assert (answer.status, answer.is_complete) == (200, True)
    assert len(upstream.requests) == 2
    assert await list_kept_requests() == []


async def test_a_key_that_is_none_is_refused(gateway, upstream, alice, subtests):
    for key in ["", "x" * 256, "ü", "a\tb"]:
        with subtests.test(key=key):
            raw = build_raw_request(alice.key, headers=f"Idempotency-Key: {key}\r\n")
            async with gateway.open_bare_connection() as wire:
                await wire.send(raw)
                answer = await wire.receive_answer()
            assert (answer.status, answer.error["code"]) == (400, "invalid_idempotency_key")
            assert upstream.requests == []


async def test_a_caller_without_a_valid_key_is_refused_as_ever(gateway, upstream, alice):
    assert (await gateway.request_chat("sk-ps-wrong", headers=key_header())).error[
        "code"
    ] == "invalid_api_key"
    assert (await gateway.request_chat(None, headers=key_header())).status == 401
    bad = await gateway.send_request(
        "POST", "/v1/chat/completions", alice.key, content=b"{", headers=key_header()
    )
    assert bad.status in (400, 415)
    assert await list_kept_requests() == []
