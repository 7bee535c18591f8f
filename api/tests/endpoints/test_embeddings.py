"""/v1/embeddings, and models that cannot do everything."""

import struct
from base64 import b64encode

import pytest

from api.tests.endpoints.model_requests import EMBEDDINGS, request_model
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_reply


@pytest.mark.parametrize(
    "given",
    ["a", ["a", "b"], [1, 2], [[1, 2], [3]]],
    ids=["text", "texts", "tokens", "token lists"],
)
async def test_embeddings_are_relayed(gateway, upstream, alice, given):
    upstream.queue_scripts(send_reply(speech.embedding_list([0.5, -0.25], [1e-7, 1])))
    answer = await request_model(gateway, alice, EMBEDDINGS, input=given, dimensions=2, user="u")
    assert answer.status == 200
    whole = answer.json
    assert (whole["object"], whole["model"]) == ("list", "m")
    assert [entry["embedding"] for entry in whole["data"]] == [[0.5, -0.25], [1e-7, 1]]
    assert whole["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    asked = upstream.requests[0]
    assert asked.path == "/v1/embeddings"
    assert asked.json == {"model": "upstream-model", "input": given, "dimensions": 2, "user": "u"}
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.status, row.prompt_tokens, row.completion_tokens) == (
        "embeddings",
        "complete",
        4,
        0,
    )


async def test_base64_embeddings_pass_untouched(gateway, upstream, alice):
    packed = b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    upstream.queue_scripts(send_reply(speech.embedding_list(packed)))
    answer = await request_model(gateway, alice, EMBEDDINGS, input="a", encoding_format="base64")
    assert answer.json["data"][0]["embedding"] == packed
    assert upstream.requests[0].json["encoding_format"] == "base64"


async def test_many_large_embeddings_pass(gateway, upstream, alice):
    vectors = [[0.123456789] * 1536] * 64
    upstream.queue_scripts(send_reply(speech.embedding_list(*vectors)))
    answer = await request_model(gateway, alice, EMBEDDINGS, input=["a"] * 64)
    assert [entry["embedding"] for entry in answer.json["data"]] == vectors


async def test_a_wrong_embedding_request_is_a_400(gateway, upstream, alice, subtests):
    cases = [{}, {"input": None}, {"input": {}}, {"input": "a", "dimensions": 0}]
    for body in cases:
        with subtests.test(body=body):
            answer = await request_model(gateway, alice, EMBEDDINGS, **body)
            assert answer.status == 400
            assert answer.error["param"] in ("input", "dimensions")
            assert upstream.requests == []


async def test_faults_of_an_embedding_upstream_are_those_of_any_other(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(
        send_refusal(401), send_reply(speech.embedding_list()), send_refusal(400, "too many")
    )
    assert (await request_model(gateway, alice, EMBEDDINGS, input="a")).status == 503
    assert (await gateway.read_token_row(token)).strikes == 1
    assert (await request_model(gateway, alice, EMBEDDINGS, input="a")).error[
        "code"
    ] == "bad_upstream_response"
    assert (await request_model(gateway, alice, EMBEDDINGS, input="a")).error[
        "message"
    ] == "too many"
    assert [row.status for row in await rows.read_usage_records()] == ["error"] * 3


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_a_model_answers_only_for_what_it_can_do(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_model, provider, "embedder", capabilities=["embeddings"])
    await run_in_thread(rows.create_model, provider, "talker", capabilities=["chat"])
    await gateway.reload_rows()
    assert (
        await request_model(gateway, alice, EMBEDDINGS, model="embedder", input="a")
    ).status == 200
    for answer in (
        await gateway.request_chat(alice.key, model="embedder"),
        await request_model(gateway, alice, EMBEDDINGS, model="talker", input="a"),
        await gateway.request_chat(
            alice.key, model="talker", tools=[{"type": "function", "function": {"name": "f"}}]
        ),
    ):
        assert answer.status == 400
        assert answer.error["param"] in ("model", "tools")
    assert len(upstream.requests) == 1
