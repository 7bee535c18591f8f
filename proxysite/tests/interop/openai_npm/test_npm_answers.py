"""Answers, embeddings and lists of models by the `openai` package of npm."""

import base64
import struct
from typing import Any

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, send_reply, send_stream

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]
VECTORS = [[0.5, -0.25], [1.0, 2.0]]


def read_content(choice: dict[str, Any]) -> str:
    content: str = choice["message"]["content"]
    return content


async def test_chat(node, upstream, gateway):
    answer = await node("chat")
    assert read_content(answer["choices"][0]) == "Hello there!"
    assert answer["model"] == "m"
    assert answer["usage"] == speech.token_usage()
    assert upstream.last_exchange.request.bearer_token == "sk-up-1"
    assert upstream.last_exchange.request.json == {
        "model": "upstream-model",
        "messages": [{"role": "user", "content": "Hello!"}],
    }
    assert not [
        name for name in upstream.last_exchange.request.headers if name.startswith("x-stainless")
    ]
    row = gateway.ledger("m")[-1]
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 9, 3)


async def test_streaming(node, upstream, gateway):
    seen = await node("stream", {"stream_options": {"include_usage": True}})
    assert seen["error"] is None
    deltas = [
        choice["delta"].get("content") for chunk in seen["chunks"] for choice in chunk["choices"]
    ]
    assert [delta for delta in deltas if delta] == ["Hello", " there", "!"]
    assert seen["chunks"][-1]["usage"] == speech.token_usage()
    assert gateway.ledger("m")[-1]["status"] == "complete"


async def test_a_stream_is_accumulated_to_what_a_whole_answer_is(node, upstream):
    whole = (await node("chat"))["choices"][0]
    seen = await node("accumulated", {"stream_options": {"include_usage": True}})
    assert "".join(seen["deltas"]) == read_content(whole)
    (choice,) = seen["completion"]["choices"]
    assert (read_content(choice), choice["finish_reason"]) == (
        read_content(whole),
        whole["finish_reason"],
    )
    assert seen["usage"]["total_tokens"] == 12


async def test_a_caller_that_asks_for_no_usage_gets_none(node, upstream):
    seen = await node("stream")
    assert all("usage" not in chunk or chunk["usage"] is None for chunk in seen["chunks"])
    assert all(chunk["choices"] for chunk in seen["chunks"])


async def test_several_choices_and_unusual_fields_come_through(node, upstream):
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion("Hi", n=2, service_tier="flex", system_fingerprint="fp_1")
        )
    )
    answer = await node(
        "chat", {"n": 2, "logit_bias": {"50256": -100}, "seed": 7, "some_new_field": {"a": [1]}}
    )
    assert [read_content(choice) for choice in answer["choices"]] == ["Hi", "Hi"]
    assert (answer["service_tier"], answer["system_fingerprint"]) == ("flex", "fp_1")
    asked = upstream.last_exchange.request.json
    assert (asked["n"], asked["seed"], asked["some_new_field"]) == (2, 7, {"a": [1]})


async def test_text_of_every_script_comes_through(node, upstream):
    text = "ünïcode, 日本語, 🙂, a\u2028line separator, \u0000 NUL\n"
    upstream.queue_scripts(
        send_reply(speech.chat_completion(text)),
        send_stream(*speech.content_chunks(*text), speech.chat_chunk(finish="stop"), DONE),
    )
    assert read_content((await node("chat"))["choices"][0]) == text
    seen = await node("stream")
    assert (
        "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in seen["chunks"])
        == text
    )


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_legacy_completions(node, upstream, streams):
    assert await node("completion", streams) == {"text": "Hello there!"}
    assert upstream.last_exchange.request.path == "/v1/completions"


async def honest_embeddings(exchange: Exchange) -> None:
    """In the form that was asked for."""
    packed = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in VECTORS]
    wanted = packed if exchange.request.json.get("encoding_format") == "base64" else VECTORS
    await send_reply(speech.embedding_list(*wanted))(exchange)


@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
async def test_embeddings(node, upstream, more):
    upstream.queue_scripts(honest_embeddings)
    answer = await node("embeddings", more)
    assert [entry["embedding"] for entry in answer["data"]] == VECTORS
    assert upstream.last_exchange.request.json["input"] == ["one", "two"]


async def test_embeddings_of_an_upstream_that_knows_only_floats(node, upstream):
    """The package asks for base64 unless told otherwise, and would make nonsense of a list."""
    upstream.queue_scripts(send_reply(speech.embedding_list(*VECTORS)))
    answer = await node("embeddings")
    assert [entry["embedding"] for entry in answer["data"]] == VECTORS


async def test_the_offline_model_needs_no_upstream(node, upstream):
    answer = await node("chat", {"model": "echo"})
    assert read_content(answer["choices"][0])
    packed = await node("embeddings", {"model": "echo"})
    floats = await node("embeddings", {"model": "echo", "encoding_format": "float"})
    for one, other in zip(packed["data"], floats["data"], strict=True):
        assert one["embedding"] == pytest.approx(other["embedding"], abs=1e-6)
        assert one["embedding"]
    assert upstream.requests == []


async def test_models(node, upstream):
    seen = await node("models")
    assert set(seen["ids"]) == {"m", "limited", "slow", "nowhere", "echo"}
    assert (seen["one"]["id"], seen["one"]["object"], seen["one"]["owned_by"]) == (
        "m",
        "model",
        "fake",
    )


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_the_heads_can_be_read(node, upstream, gateway, streams):
    seen = await node("withResponse", {"stream": streams})
    headers = seen["headers"]
    assert seen["status"] == 200
    assert seen["request_id"] == headers["x-request-id"]
    assert seen["request_id"].startswith("req_")
    if not streams:
        assert seen["own"] == seen["request_id"]
    assert headers["content-type"].startswith(
        "text/event-stream" if streams else "application/json"
    )
    assert headers["openai-processing-ms"].isdigit()
    assert gateway.rows(
        "SELECT 1 FROM api_usagerecord WHERE id = ?", seen["request_id"].removeprefix("req_")
    )
