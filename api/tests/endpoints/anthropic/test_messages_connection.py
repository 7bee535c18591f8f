"""The test of a connection, and the list of models, of a provider of Anthropic's kind."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing.anthropic_speech import (
    answer_message,
    send_error,
    text_block,
    tool_block,
)
from proxysite.testing.upstream import send_reply
from tokens.dialect_probe.connection_test import run_connection_test
from tokens.dialect_probe.examination import examine_upstream
from tokens.maintenance.model_diff import read_listed_models

MODELS = {
    "data": [
        {"id": "claude-opus-4-8", "max_input_tokens": 1_000_000, "lifecycle": "active"},
        {"id": "claude-2", "lifecycle": "retired"},
    ],
    "has_more": False,
}


async def answer_like_anthropic(exchange):
    """Answer a check, a question and a demanded call."""
    request = exchange.request
    if "/models" in request.path:
        return await send_reply(MODELS)(exchange)
    if request.path != "/v1/messages":
        return await send_error(404, "not_found_error")(exchange)
    tools = request.json.get("tools")
    if not tools:
        return await answer_message(text_block("OK"))(exchange)
    return await answer_message(tool_block(tools[0]["name"]), stop="tool_use")(exchange)


@pytest.mark.usefixtures("token")
async def test_every_step_of_the_test_of_a_connection_is_good(upstream, provider):
    upstream.set_default_script(answer_like_anthropic)
    row = await run_in_thread(Provider.objects.get, pk=provider.pk)
    report = await run_in_thread(run_connection_test, row)
    assert {step.name: step.state for step in report.steps} == {
        "dns": "good",
        "tcp": "good",
        "tls": "off",
        "credential": "good",
        "models": "good",
        "answer": "good",
        "stream": "good",
        "tools": "good",
    }
    assert report.columns == {}
    found = await run_in_thread(examine_upstream, row, "claude-opus-4-8")
    assert {finding.subject for finding in found.findings} == {
        "models",
        "limit",
        "usage",
        "thinking",
    }


@pytest.mark.usefixtures("token")
async def test_the_list_of_models_has_their_windows(upstream, provider):
    upstream.set_default_script(answer_like_anthropic)
    row = await run_in_thread(Provider.objects.get, pk=provider.pk)
    listed = await run_in_thread(read_listed_models, row)
    assert [(model.name, model.window) for model in listed] == [("claude-opus-4-8", 1_000_000)]
