"""The official `openai` package of npm, unmodified, against a real gateway with a scripted upstream
behind it.

`npm/cases.mjs` does what a program would do and prints what it saw.
"""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxysite.testing import speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    Exchange,
    Gate,
    send_refusal,
    send_reply,
    send_stream,
)
from proxysite.testing.upstream_server import Upstream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import (
    PATIENCE_SECONDS,
    Gateway,
    npm_packages,
    patiently,
    surroundings,
)

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

CITY = {"name": "Zürich", "people": 443000}
VECTORS = [[0.5, -0.25], [1.0, 2.0]]


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_packages()


@pytest.fixture(scope="module")
def gateway(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Upstream]:
    running = Upstream()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    """The scripted upstream, with what only this test asks of it."""
    server.exchanges.clear()
    yield server
    assert not server.failures, server.failures
    assert not server._scripts, "scripts that nobody asked for"


@pytest.fixture(scope="module")
def node(packages: Path, gateway: Gateway, server: Upstream) -> Iterator[Cases]:
    """The package, as alice. There are the models `m`, `limited` and `slow` (each with a token of
    its own), and `nowhere`, whose provider cannot be reached.
    """
    gateway.provide("fake", server.url, "m=upstream-model", tokens=["sk-up-1"])
    gateway.provide("fake-limited", server.url, "limited=upstream-model", tokens=["sk-up-2"])
    gateway.provide("fake-slow", server.url, "slow=upstream-model", tokens=["sk-up-4"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        gateway.provide("nowhere", nowhere, "nowhere=m", tokens=["sk-up-3"])
        env = surroundings(BASE_URL=f"{gateway.url}/v1", API_KEY=gateway.issue_key("alice"))
        yield Cases(("node", "cases.mjs"), packages, env)


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def _in_force(node: Cases) -> None:
    """Rows made beside a running gateway are in force within a second."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for model in ("m", "limited", "slow", "nowhere"):
            while (await node("error", {"model": model})).get("code") in (
                "model_not_found",
                "no_available_token",
            ):
                pass


def said(choice: dict[str, Any]) -> str:
    content: str = choice["message"]["content"]
    return content


def called(name: str = "get_weather", **arguments: Any) -> dict[str, Any]:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


# --- answers --------------------------------------------------------------------------------------
async def test_chat(node, upstream, gateway):
    answer = await node("chat")
    assert said(answer["choices"][0]) == "Hello there!"
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
    assert "".join(seen["deltas"]) == said(whole)
    (choice,) = seen["completion"]["choices"]
    assert (said(choice), choice["finish_reason"]) == (said(whole), whole["finish_reason"])
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
    assert [said(choice) for choice in answer["choices"]] == ["Hi", "Hi"]
    assert (answer["service_tier"], answer["system_fingerprint"]) == ("flex", "fp_1")
    asked = upstream.last_exchange.request.json
    assert (asked["n"], asked["seed"], asked["some_new_field"]) == (2, 7, {"a": [1]})


async def test_text_of_every_script_comes_through(node, upstream):
    text = "ünïcode, 日本語, 🙂, a\u2028line separator, \u0000 NUL\n"
    upstream.queue_scripts(
        send_reply(speech.chat_completion(text)),
        send_stream(*speech.content_chunks(*text), speech.chat_chunk(finish="stop"), DONE),
    )
    assert said((await node("chat"))["choices"][0]) == text
    seen = await node("stream")
    assert (
        "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in seen["chunks"])
        == text
    )


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_tools_are_run_by_the_package(node, upstream, streams):
    call = called(city="Zürich")
    if streams:
        start, rest = call["function"]["arguments"][:9], call["function"]["arguments"][9:]
        pieces = [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    call | {"index": 0, "function": {"name": "get_weather", "arguments": ""}}
                ],
            },
            {"tool_calls": [{"index": 0, "function": {"arguments": start}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": rest}}]},
        ]
        upstream.queue_scripts(
            send_stream(
                *map(speech.chat_chunk, pieces), speech.chat_chunk(finish="tool_calls"), DONE
            )
        )
    else:
        upstream.queue_scripts(
            send_reply(
                speech.chat_completion(
                    None, finish="tool_calls", message={"content": None, "tool_calls": [call]}
                )
            )
        )
    seen = await node("tools", streams)
    assert seen["asked"] == ["Zürich"]
    assert seen["answer"] == "Hello there!"
    first, second = (request.json for request in upstream.requests)
    assert first["tools"][0]["function"]["strict"] is True
    assert second["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "It rains in Zürich.",
    }
    assert (
        second["messages"][-2]["tool_calls"][0]["function"]["arguments"]
        == call["function"]["arguments"]
    )


async def test_a_forced_tool_is_called(node, upstream):
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(
                None, message={"content": None, "tool_calls": [called(city="Bern")]}
            )
        )
    )
    answer = await node("toolChoice")
    assert upstream.last_exchange.request.json["tool_choice"] == {
        "type": "function",
        "function": {"name": "get_weather"},
    }
    assert json.loads(
        answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    ) == {"city": "Bern"}


async def test_structured_output_is_parsed(node, upstream):
    text = json.dumps(CITY)
    upstream.queue_scripts(send_reply(speech.chat_completion(text)))
    assert (await node("parse"))["parsed"] == CITY
    asked = upstream.last_exchange.request.json["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
        "json_schema",
        "city",
        True,
    )
    assert asked["json_schema"]["schema"]["required"] == ["name", "people"]
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks(text[:5], text[5:]), speech.chat_chunk(finish="stop"), DONE
        )
    )
    assert (await node("parseStream"))["parsed"] == CITY


async def test_a_refusal_is_no_parsed_answer(node, upstream):
    upstream.queue_scripts(
        send_reply(speech.chat_completion(None, message={"content": None, "refusal": "No."}))
    )
    assert await node("parse") == {"parsed": None, "refusal": "No."}


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
    assert said(answer["choices"][0])
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


# --- errors ---------------------------------------------------------------------------------------
async def test_a_wrong_key(node, upstream):
    for key in ("sk-ps-wrong", "nonsense"):
        error = await node("error", API_KEY=key)
        assert (error["kind"], error["status"], error["code"]) == (
            "AuthenticationError",
            401,
            "invalid_api_key",
        )
        assert error["requestID"].startswith("req_")
    assert upstream.requests == []


async def test_a_model_that_the_key_may_not_use(node, gateway, upstream):
    limited = gateway.issue_key("mallory", "--models", "echo")
    error = await node("error", API_KEY=limited)
    assert (error["kind"], error["status"]) == ("PermissionDeniedError", 403)
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["chat", "models", "embeddings"])
async def test_a_model_that_there_is_not(node, upstream, method):
    error = await node("error", {"model": "no-such"}, {}, method)
    assert (error["kind"], error["status"], error["code"]) == (
        "NotFoundError",
        404,
        "model_not_found",
    )
    assert (error["type"], error["param"]) == ("invalid_request_error", "model")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"api_base": "http://127.0.0.1:1/"}, "api_base"),
    ],
    ids=["nothing said", "no list", "wrong type", "a field that chooses the upstream"],
)
async def test_a_request_that_makes_no_sense(node, upstream, body, param):
    error = await node("error", body)
    assert (error["kind"], error["status"], error["param"]) == ("BadRequestError", 400, param)
    assert upstream.requests == []


async def test_a_request_that_the_upstream_refuses(node, upstream):
    upstream.queue_scripts(
        send_refusal(400, "Too long.", "context_length_exceeded", "invalid_request_error"),
        send_refusal(422, "Not like this.", None, "invalid_request_error"),
    )
    error = await node("error")
    assert (error["kind"], error["code"]) == ("BadRequestError", "context_length_exceeded")
    assert error["message"] == "400 Too long."
    assert (await node("error"))["kind"] == "UnprocessableEntityError"
    assert len(upstream.requests) == 2


async def test_a_rate_limit_is_told_with_its_time(node, upstream):
    upstream.queue_scripts(send_refusal(429, "Slow down.", "rate_limit_exceeded", retry_after="30"))
    for _ in range(2):  # the second time the upstream is not asked
        error = await node("error", {"model": "limited"})
        assert (error["kind"], error["status"], error["code"]) == (
            "RateLimitError",
            429,
            "rate_limit_exceeded",
        )
        assert 20 <= int(error["headers"]["retry-after"]) <= 31
    assert len(upstream.requests) == 1


async def test_the_package_comes_back_when_it_was_told_to(node, upstream):
    upstream.queue_scripts(send_refusal(429, "Slow down.", "rate_limit_exceeded", retry_after="1"))
    assert await node("error", {"model": "slow"}, {"maxRetries": 2}) == {"kind": "none"}
    assert len(upstream.requests) == 2


async def test_an_upstream_that_cannot_be_reached(node, upstream):
    error = await node("error", {"model": "nowhere"}, {"maxRetries": 2})
    assert error["kind"] == "InternalServerError"
    assert (error["status"], error["code"]) == (502, "upstream_unreachable")
    assert error["headers"]["x-should-retry"] == "false"  # it was tried again here


async def test_an_upstream_that_breaks_off(node, upstream, gateway):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello", " the"), CUT))
    seen = await node("stream")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in seen["chunks"]] == [
        "Hello",
        " the",
    ]
    assert (seen["error"]["kind"], seen["error"]["code"]) == ("APIError", "upstream_disconnected")
    assert gateway.ledger("m")[-1]["status"] == "truncated"


async def test_an_error_that_the_upstream_reports_in_its_stream(node, upstream, gateway):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hello"),
            speech.openai_error_body("It broke.", "server_error", "overloaded"),
            DONE,
        )
    )
    seen = await node("stream")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in seen["chunks"]] == ["Hello"]
    assert seen["error"]["kind"] == "APIError"
    assert seen["error"]["code"]
    assert gateway.ledger("m")[-1]["status"] == "truncated"


# --- leaving --------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["break", "controller", "signal"])
async def test_leaving_a_stream_closes_the_upstreams_connection(node, upstream, gateway, way):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hello"),
            gate,
            *speech.content_chunks(" there"),
            speech.chat_chunk(finish="stop"),
            DONE,
        )
    )
    async with node.running("leave", way) as seen:
        assert seen == {"heard": "Hello", "aborted": True}
        await upstream.last_exchange.wait_until_left()  # while the program that left is still there
    gate.open()
    row = await asyncio.to_thread(patiently, lambda: abandoned(gateway), "its row")
    assert row["completion_tokens"] > 0
    assert row["estimated"]


def abandoned(gateway: Gateway) -> dict[str, Any] | None:
    """The last request's row, when it is one that the caller left."""
    row = gateway.ledger("m")[-1]
    return row if row["status"] == "abandoned" else None


async def test_a_client_that_loses_patience_closes_the_upstreams_connection(
    node, upstream, gateway
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(gate, *speech.content_chunks("Hello"), speech.chat_chunk(finish="stop"), DONE)
    )
    async with node.running("error", {"stream": True}, {"timeout": 500}) as error:
        assert error["kind"] == "APIConnectionTimeoutError"
        await upstream.last_exchange.wait_until_left()
    gate.open()
