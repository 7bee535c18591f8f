"""Which models serve the relayed endpoints, and what the others answer."""

import pytest

from api.tests.endpoints.relayed.relayed_requests import send_form
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_reply

BODIES = {
    "/v1/images/generations": {"prompt": "x"},
    "/v1/audio/speech": {"input": "x", "voice": "alloy"},
    "/v1/moderations": {"input": "x"},
    "/v1/rerank": {"query": "x", "documents": ["y"]},
}
CAPABILITIES = {
    "/v1/images/generations": "images",
    "/v1/audio/speech": "speech",
    "/v1/moderations": "moderation",
    "/v1/rerank": "rerank",
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_model_with_other_capabilities_does_not_serve_it(
    gateway, upstream, alice, provider, path
):
    await run_in_thread(rows.create_model, provider, "talker", capabilities=["chat"])
    able = await run_in_thread(
        rows.create_model, provider, "able", capabilities=[CAPABILITIES[path]]
    )
    await gateway.reload_rows()
    answer = await gateway.send_request(
        "POST", path, alice.key, json=BODIES[path] | {"model": "talker"}
    )
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == f"The model 'talker' does not serve {path}."
    upstream.queue_scripts(send_reply({"results": [], "data": []}))
    answer = await gateway.send_request(
        "POST", path, alice.key, json=BODIES[path] | {"model": able.public_id}
    )
    assert answer.status == 200
    models = (await gateway.send_request("GET", "/v1/models", alice.key)).json["data"]
    assert {model["id"]: model["capabilities"] for model in models}["able"] == [CAPABILITIES[path]]


async def test_a_provider_of_another_kind_cannot_serve_it(gateway, upstream, alice):
    def create_echo():
        provider = rows.create_provider("", "echo", models=["echo"], kind="echo")
        rows.create_alias("whisper-1", "echo")
        return provider

    await run_in_thread(create_echo)
    await gateway.reload_rows()
    answer = await send_form(gateway, alice, model="whisper-1")
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == (
        "The model 'echo' cannot serve /v1/audio/transcriptions: its provider (Echo (offline)) "
        "has no such endpoint."
    )
    answer = await send_form(gateway, alice, model="nowhere")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


async def test_a_virtual_model_serves_it_like_its_base(gateway, upstream, alice):
    await run_in_thread(rows.create_virtual_model, "steps", "m", "stepwise")
    await run_in_thread(rows.create_virtual_model, "paths", "m", "multipath")
    await gateway.reload_rows()
    for name in ("steps", "paths"):
        upstream.queue_scripts(send_reply({"text": "Hello."}))
        assert (await send_form(gateway, alice, model=name)).json == {"text": "Hello."}


async def test_a_key_may_use_its_models_only(gateway, upstream, alice):
    limited = await run_in_thread(lambda: rows.create_person("bob", models=["other"]))
    await gateway.reload_rows()
    answer = await send_form(gateway, limited)
    assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")


@pytest.mark.parametrize("path", [*BODIES, "/v1/audio/transcriptions"])
async def test_only_posts_are_taken(gateway, alice, path):
    answer = await gateway.send_request("GET", path, alice.key)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
