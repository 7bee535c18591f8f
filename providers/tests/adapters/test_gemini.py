"""Gemini's adapter beside the path of a request: its list of models, and counting tokens."""

from contextlib import asynccontextmanager

import pytest

from providers.exceptions import AuthRejected, BadResponse
from providers.network.clients import Clients
from providers.network.target import Timeouts
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.registry import get_adapter_class
from providers.upstream.base_adapter import Limits, Upstream
from providers.upstream.token_calls import TokenList
from proxysite.testing.upstream import send_reply

KEY = Credential(None, "AIza-1")


@asynccontextmanager
async def open_adapter(base_url):
    """Yield an adapter of Gemini's kind for this address."""
    row = Upstream(
        id=1,
        name="fake",
        kind="gemini",
        base_url=base_url,
        headers=(),
        mode="user",
        rotation="round_robin",
        needs_token=True,
        native_tools=True,
        reports_usage=True,
        allow_private=True,
        timeouts=Timeouts(5, 5, 5, 5, 5),
        limits=Limits(10_000, 10_000),
    )
    async with Clients() as clients:
        yield get_adapter_class("gemini")(row, clients)


async def test_models_of_all_pages_that_answer_or_embed(upstream):
    def entry(name, *methods):
        return {"name": f"models/{name}", "supportedGenerationMethods": list(methods)}

    upstream.queue_scripts(
        send_reply({"models": [entry("gemini-3-pro", "generateContent")], "nextPageToken": "a/b"}),
        send_reply({"models": [entry("emb", "embedContent"), entry("veo", "predictLongRunning")]}),
    )
    async with open_adapter(upstream.url) as adapter:
        assert await adapter.list_model_ids(KEY) == ["emb", "gemini-3-pro"]
    first, second = upstream.requests
    assert first.path == "/v1/models?pageSize=1000"
    assert second.path == "/v1/models?pageSize=1000&pageToken=a%2Fb"
    assert second.headers["x-goog-api-key"] == "AIza-1"


async def test_a_key_is_checked_by_the_list(upstream):
    error = {
        "code": 400,
        "status": "INVALID_ARGUMENT",
        "message": "API key not valid. Please pass a valid API key.",
    }
    upstream.queue_scripts(send_reply({"error": error}, 400), send_reply({"models": "none"}))
    async with open_adapter(upstream.url) as adapter:
        with pytest.raises(AuthRejected):
            await adapter.probe_credential(KEY)
        with pytest.raises(BadResponse):
            await adapter.probe_credential(KEY)


async def test_tokens_of_a_prompt_are_counted_by_the_upstream(upstream):
    upstream.queue_scripts(send_reply({"totalTokens": 31}))
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]
    request = ChatRequest("1", CHAT, "m", {"model": "m", "messages": messages})
    async with open_adapter(upstream.url) as adapter:
        model = UpstreamModel("gemini-2.0-flash")
        assert await adapter.tokenize(request, model, KEY) == TokenList(31)
    (sent,) = upstream.requests
    assert sent.path == "/v1/models/gemini-2.0-flash:countTokens"
    assert sent.json["generateContentRequest"] == {
        "model": "models/gemini-2.0-flash",
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "S"}]},
    }
