"""Rerank requests in the forms of Cohere, Jina and vLLM, at each of their addresses."""

import pytest

from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply

ADDRESSES = ["/v1/rerank", "/v2/rerank", "/rerank"]
RESULTS = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
# docs.cohere.com, "Rerank"
COHERE = {
    "id": "07734bd2",
    "results": RESULTS,
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 2}},
}
# jina.ai/reranker, docs.vllm.ai "Rerank API"
JINA = {
    "model": "upstream-model",
    "object": "list",
    "usage": {"total_tokens": 38},
    "results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "Graz"}}],
}
VLLM = {
    "id": "rerank-1",
    "model": "upstream-model",
    "usage": {"prompt_tokens": 56, "total_tokens": 56},
    "results": [{"index": 1, "document": {"text": "Graz"}, "relevance_score": 0.9}],
}
BODY = {"model": "m", "query": "capital of Styria", "documents": ["Linz", "Graz"], "top_n": 2}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_documents_are_ranked(gateway, upstream, alice, three, address):
    upstream.queue_scripts(send_refusal(500), send_reply(COHERE))
    answer = await gateway.send_request("POST", address, alice.key, json=BODY)
    assert (answer.status, answer.json) == (200, COHERE)
    asked = upstream.requests[1]
    assert (asked.path, asked.bearer_token) == ("/v1/rerank", "sk-up-2")
    assert asked.json == BODY | {"model": "upstream-model"}
    assert (await rows.read_only_usage_record()).endpoint == "rerank"


@pytest.mark.parametrize(("whole", "tokens"), [(JINA, 38), (VLLM, 56)])
async def test_answers_name_the_callers_model_and_their_tokens(
    gateway, upstream, alice, whole, tokens
):
    upstream.queue_scripts(send_reply(whole))
    body = BODY | {"documents": ["Linz", {"text": "Graz"}], "return_documents": True}
    answer = await gateway.send_request("POST", "/v1/rerank", alice.key, json=body)
    assert answer.json == whole | {"model": "m"}
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (tokens, 0, False)


async def test_search_units_have_a_price(gateway, upstream, alice, provider):
    await run_in_thread(
        create_price,
        provider,
        "upstream-model",
        prompt_usd=None,
        completion_usd=None,
        search_usd="0.002",
    )
    await gateway.reload_rows()
    upstream.queue_scripts(send_reply(COHERE), send_reply({"results": RESULTS}))
    for _ in range(2):
        await gateway.send_request("POST", "/v1/rerank", alice.key, json=BODY)
    reported, counted = await rows.read_usage_records()
    assert (reported.cost_micro_usd, reported.prompt_tokens) == (4_000, 0)
    assert counted.cost_micro_usd == 2_000
    assert counted.estimated


async def test_tokens_of_a_silent_upstream_are_counted(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"results": RESULTS}))
    await gateway.send_request("POST", "/v1/rerank", alice.key, json=BODY)
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.prompt_tokens > 3


@pytest.mark.settings(INPUTS_LIMIT=2)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a", "b", "c"]}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"model": None}, "model"),
    ],
)
async def test_a_wrong_request_is_a_400(gateway, upstream, alice, fields, param):
    answer = await gateway.send_request("POST", "/v1/rerank", alice.key, json=BODY | fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert upstream.requests == []


async def test_a_repeated_request_with_a_key_gets_the_same_answer(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(COHERE))
    for replayed in (None, "true"):
        answer = await gateway.send_request(
            "POST", "/v1/rerank", alice.key, json=BODY, headers={"idempotency-key": "k"}
        )
        assert answer.json == COHERE
        assert answer.headers.get("idempotent-replayed") == replayed
    assert len(upstream.requests) == 1
