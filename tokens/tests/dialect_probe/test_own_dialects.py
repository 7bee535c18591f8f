"""The command test_provider on an upstream with a dialect of its own: Gemini."""

import json
from typing import Any

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from providers.tests.command_runner import run
from proxysite.testing.upstream import Exchange, send_reply, send_stream

pytestmark = pytest.mark.usefixtures("token")


async def speak_gemini(exchange: Exchange) -> None:
    """Answer as Gemini does: models, and an answer of one word, or a call where there are tools."""
    request = exchange.request
    if request.method == "GET":
        methods = ["generateContent"]
        models = [{"name": "models/upstream-model", "supportedGenerationMethods": methods}]
        return await send_reply({"models": models})(exchange)
    tools = request.json.get("tools")
    part: dict[str, Any] = {"text": "Hi"}
    if tools:
        name = tools[0]["functionDeclarations"][0]["name"]
        part = {"functionCall": {"name": name, "args": {}}}
    content = {"parts": [part], "role": "model"}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1}
    event = {
        "candidates": [{"content": content, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    is_streamed = "streamGenerateContent" in request.path
    return await (send_stream(event) if is_streamed else send_reply(event))(exchange)


async def test_gemini_is_asked_in_its_own_words_and_no_change_is_proposed(
    upstream: Any, provider: Provider
) -> None:
    await run_in_thread(Provider.objects.update, kind="gemini")
    upstream.set_default_script(speak_gemini)
    report = json.loads(await run_in_thread(run, "test_provider", "fake", "--format", "json"))
    found = {finding["subject"]: finding["result"] for finding in report["findings"]}
    assert found["models"] == "1 listed, upstream-model among them"
    assert found["limit"] == "left to the adapter"
    assert "tools" not in found
    assert report["columns"] == {}
    paths = [request.path for request in upstream.requests]
    assert not [path for path in paths if "chat/completions" in path]
