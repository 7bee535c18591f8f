"""Errors of the Messages API have Anthropic's form, wherever they arise."""

import pytest

from api.models import LimitSet
from api.tests.endpoints.messages.conftest import VERSION, request_message
from api.tests.messages.message_events import read_events
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, answer_honestly, send_reply, send_stream


def check_error(answer, status, kind):
    """Check the form of an error, and return its message."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == answer.headers["request-id"]
    return body["error"]["message"]


async def test_a_missing_and_a_wrong_key(gateway, alice):
    message = check_error(await request_message(gateway, None), 401, "authentication_error")
    assert "x-api-key" in message
    answer = await request_message(gateway, "wrong")
    check_error(answer, 401, "authentication_error")
    assert answer.headers["x-should-retry"] == "false"


async def test_a_key_is_taken_from_either_header(gateway, alice):
    headers = {"authorization": f"Bearer {alice.key}"}
    assert (await request_message(gateway, None, headers)).status == 200
    assert (await request_message(gateway, alice.key)).status == 200
    both = {"authorization": "Bearer other"}
    check_error(await request_message(gateway, alice.key, both), 400, "invalid_request_error")


async def test_an_unknown_model_and_one_that_the_key_may_not_use(gateway, alice, mallory):
    answer = await request_message(gateway, alice.key, model="nothing")
    assert check_error(answer, 404, "not_found_error").startswith("model: ")
    person = await run_in_thread(lambda: rows.create_person("bob", models=["other"]))
    answer = await request_message(gateway, person.key)
    check_error(answer, 403, "permission_error")


async def test_an_address_and_a_method_that_do_not_exist(gateway, alice):
    headers = {"x-api-key": alice.key} | VERSION
    answer = await gateway.send_request("GET", "/v1/messages", headers=headers)
    check_error(answer, 405, "invalid_request_error")
    answer = await gateway.send_request("POST", "/v1/messages/batches", headers=headers, json={})
    assert "at /v1/batches" in check_error(answer, 404, "not_found_error")
    answer = await gateway.send_request("POST", "/v1/messages/nothing", headers=headers, json={})
    assert "count_tokens" in check_error(answer, 404, "not_found_error")
    answer = await gateway.send_request("POST", "/v1/v1/messages", headers=headers, json={})
    assert answer.status == 404
    assert "Did you mean /v1/messages?" in answer.json["error"]["message"]
    assert "without /v1" in answer.json["error"]["message"]


@pytest.mark.settings(BODY_LIMIT_BYTES=1000)
async def test_a_body_that_is_too_large(gateway, alice):
    answer = await request_message(gateway, alice.key, system="x" * 2000)
    check_error(answer, 413, "request_too_large")


async def test_a_body_that_is_no_json(gateway, alice):
    headers = {"x-api-key": alice.key, "content-type": "application/json"}
    answer = await gateway.send_request("POST", "/v1/messages", content=b"{", headers=headers)
    check_error(answer, 400, "invalid_request_error")


async def test_a_limit_of_the_key(gateway, alice):
    await run_in_thread(lambda: LimitSet.objects.create(key=alice.row, requests_per_minute=1))
    await gateway.reload_rows()
    assert (await request_message(gateway, alice.key)).status == 200
    answer = await request_message(gateway, alice.key)
    check_error(answer, 429, "rate_limit_error")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_server_that_is_full_or_shuts_down(gateway, alice):
    gateway._application.lean_handler._most_requests = 0
    answer = await request_message(gateway, alice.key)
    check_error(answer, 503, "overloaded_error")
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("streams", [False, True])
async def test_an_upstreams_refusal_names_the_callers_field(gateway, alice, upstream, streams):
    body = speech.openai_error_body(
        "Bad text.", "invalid_request_error", "invalid_value", param="messages[1].content[0]"
    )
    upstream.queue_scripts(send_reply(body, status=400))
    answer = await request_message(
        gateway, alice.key, system="Be brief.", stream=streams, max_tokens=5
    )
    message = check_error(answer, 400, "invalid_request_error")
    assert message == "messages.0: Bad text."


async def test_an_upstream_that_fails(gateway, alice, upstream):
    upstream.queue_scripts(*[send_reply(speech.openai_error_body(), status=500)] * 4)
    answer = await request_message(gateway, alice.key)
    check_error(answer, 502, "api_error")
    upstream._scripts.clear()


async def test_a_stream_that_breaks_ends_with_an_error_event(gateway, alice, upstream):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello"), CUT))
    answer = await request_message(gateway, alice.key, stream=True)
    assert answer.status == 200
    events = read_events(answer.body)
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "api_error"


async def test_a_repeated_request_gets_its_stored_error(gateway, alice):
    headers = {"idempotency-key": "once"}
    first = await request_message(gateway, alice.key, headers, model="nothing")
    second = await request_message(gateway, alice.key, headers, model="nothing")
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json == second.json


async def test_a_repeated_request_gets_its_stored_message(gateway, alice, upstream):
    upstream.queue_scripts(answer_honestly("Once."))
    headers = {"idempotency-key": "once"}
    first = await request_message(gateway, alice.key, headers)
    second = await request_message(gateway, alice.key, headers)
    assert first.json == second.json
    assert len(upstream.requests) == 1
