"""Requests without a model: O1-API's literal request, with a key that has a default model."""

import json

import pytest

from api.models import ApiKey
from api.schemas.default_model import insert_model
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import send_reply

BODIES = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "Hello!"},
    "/v1/responses": {"input": "Hello!"},
}


@pytest.fixture
def default_model(alice):
    """Alice's key answers with the model `m` where a request names none."""
    ApiKey.objects.filter(pk=alice.row.pk).update(default_model="m")


@pytest.mark.usefixtures("default_model")
async def test_a_request_without_a_model_is_answered_by_the_model_of_its_key(
    gateway, upstream, alice, subtests
):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello there!")))
    for path, body in BODIES.items():
        with subtests.test(path=path):
            answer = await gateway.send_request("POST", path, alice.key, json=body)
            assert answer.status == 200, answer.json
            assert upstream.requests[-1].json["model"] == "upstream-model"


@pytest.mark.usefixtures("default_model")
async def test_a_model_that_is_named_counts_and_other_faults_stay(gateway, upstream, alice):
    path = "/v1/chat/completions"
    unknown = {"model": "other", "messages": HELLO}
    answer = await gateway.send_request("POST", path, alice.key, json=unknown)
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    answer = await gateway.send_request("POST", path, alice.key, json={})
    assert (answer.status, answer.error["param"]) == (400, "messages")
    wrong = {"messages": [{"role": "nobody", "content": "x"}]}
    answer = await gateway.send_request("POST", path, alice.key, json=wrong)
    assert (answer.status, answer.error["param"]) == (400, "messages[0].role")
    assert upstream.requests == []


async def test_without_a_default_the_model_is_required(gateway, upstream, alice):
    for path, body in BODIES.items():
        answer = await gateway.send_request("POST", path, alice.key, json=body)
        assert (answer.status, answer.error["param"]) == (400, "model")
    assert upstream.requests == []


@pytest.mark.usefixtures("default_model")
async def test_a_changed_default_is_in_force_at_once(gateway, upstream, alice):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello there!")))

    async def read_status():
        body = {"messages": HELLO}
        answer = await gateway.send_request("POST", "/v1/chat/completions", alice.key, json=body)
        return answer.status

    async def is_refused():
        return await read_status() == 400

    assert await read_status() == 200
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).update, default_model="")
    await wait_until_true(is_refused)


def test_a_model_is_inserted_as_the_first_field():
    for text in (' { "a": 1}', "{}", "{ }\n", '{"a":{"model":"n"}}'):
        body = json.loads(insert_model(text.encode(), 'a"b'))
        assert body == {"model": 'a"b', **json.loads(text)}
