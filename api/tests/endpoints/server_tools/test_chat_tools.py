"""Tools of the gateway in chat completions, and in conversations that chats continue."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.models import LimitSet, Price
from proxysite.testing import rows
from proxysite.testing.tool_scripts import answer_with_calls, make_call

pytestmark = pytest.mark.settings(SERVER_TOOLS=["mcp", "web_search"])
TOOL = {"type": "mcp", "server_label": "math", "require_approval": "never"}
OWN = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}
ADD = make_call("math__add", {"a": 2, "b": 3})
QUESTION = {"role": "user", "content": "2+3?"}


@pytest.fixture
def price_and_budget(alice, provider):
    """A dollar for a thousand prompt tokens, two for the others: 0.03 USD for both rounds."""
    Price.objects.create(
        provider=provider,
        upstream_model="upstream-model",
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        prompt_usd=1_000,
        completion_usd=2_000,
    )
    LimitSet.objects.create(key=alice.row, total_budget_usd=Decimal("0.06"))


async def test_a_chat_calls_tools_of_a_server_and_shows_the_callers_own_calls(
    client, upstream, math
):
    upstream.queue_scripts(
        answer_with_calls(ADD), answer_with_calls(make_call("mine", {"x": 1}, "call_own"))
    )
    stream = await client.chat.completions.create(
        model="m", messages=[QUESTION], tools=[TOOL, OWN], stream=True
    )
    chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    parts = [part for choice in choices for part in choice.delta.tool_calls or ()]
    assert {part.index for part in parts} == {0}
    assert "".join(part.function.arguments or "" for part in parts) == json.dumps({"x": 1})
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["tool_calls"]
    assert all(chunk.choices for chunk in chunks)
    names = [tool["function"]["name"] for tool in upstream.requests[0].json["tools"]]
    assert names == ["mine", "math__add"]


async def test_a_chat_has_no_place_for_an_approval(gateway, alice, math):
    for tool in ({"type": "mcp", "server_label": "math"}, TOOL | {"require_approval": "always"}):
        answer = await gateway.request_chat(alice.key, messages=[QUESTION], tools=[tool])
        assert (answer.status, answer.error["param"]) == (400, "tools")
    answer = await gateway.request_chat(alice.key, messages=[QUESTION], tools=[TOOL], n=2)
    assert (answer.status, answer.error["param"]) == (400, "n")


async def test_a_conversation_keeps_the_results_and_finds_what_a_client_repeats(
    gateway, alice, upstream, math, search_backend
):
    search = make_call("web_search", {"query": "sum"}, "call_2")
    upstream.queue_scripts(
        answer_with_calls(ADD), answer_with_calls(search), answer_with_calls(text="It is 5.")
    )
    fields = {"tools": [TOOL], "web_search_options": {}, "conversation_id": "sums"}
    first = await gateway.request_chat(alice.key, messages=[QUESTION], **fields)
    answer = first.json["choices"][0]["message"]
    assert answer["content"] == "It is 5."
    history = [QUESTION, {"role": "assistant", "content": "It is 5."}]
    upstream.queue_scripts(answer_with_calls(text="Yes."))
    sure = {"role": "user", "content": "Sure?"}
    await gateway.request_chat(alice.key, messages=[*history, sure], **fields)
    messages = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in messages].count("user") == 2
    results = [message for message in messages if message["role"] == "tool"]
    assert [message["tool_call_id"] for message in results] == ["call_1", "call_2"]
    assert messages[-1] == sure


async def test_a_budget_pays_for_all_rounds(price_and_budget, gateway, alice, upstream, math):
    upstream.set_default_script(answer_with_calls(text="Five."))
    spent = []
    for _ in range(3):
        upstream.queue_scripts(answer_with_calls(ADD))
        answer = await gateway.request_chat(
            alice.key, messages=[QUESTION], tools=[TOOL], max_tokens=3
        )
        if answer.status == 200:
            assert answer.json["usage"]["total_tokens"] == 24
            spent.append((await rows.read_usage_records())[-1].cost_micro_usd)
    assert spent == [30_000, 30_000]
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
