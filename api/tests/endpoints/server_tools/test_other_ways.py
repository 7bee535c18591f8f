"""The loop of tools on other ways: in the background, in words, over a strategy, and cut short."""

import asyncio

import pytest

from api.tests.endpoints.server_tools.conftest import read_events
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import PATIENCE_SECONDS, rows
from proxysite.testing.tool_scripts import answer_with_calls, make_call
from proxysite.testing.upstream import Gate, send_pieces, send_refusal

pytestmark = pytest.mark.settings(SERVER_TOOLS=["mcp"])
TOOL = {"type": "mcp", "server_label": "math", "require_approval": "never"}
ADD = make_call("math__add", {"a": 2, "b": 3})
IN_WORDS = '<tool_call>{"name": "math__add", "arguments": {"a": 2, "b": 3}}</tool_call>'


def list_kinds(response):
    return [item.type for item in response.output]


async def test_a_response_in_the_background_calls_tools(client, upstream, math):
    upstream.queue_scripts(answer_with_calls(ADD), answer_with_calls(text="It is 5."))
    events = await read_events(client, model="m", input="2+3?", tools=[TOOL], background=True)
    response = events[-1].response
    assert list_kinds(response) == ["mcp_list_tools", "mcp_call", "message"]
    stored = await client.responses.retrieve(response.id)
    assert stored.output[1].output == "5"
    assert "gateway" not in stored.output[1].model_dump()
    followed = await client.responses.create(
        model="m", input="Sure?", previous_response_id=response.id
    )
    assert list_kinds(followed) == ["message"]
    messages = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in messages] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip


async def test_a_model_that_writes_its_calls_as_text_calls_them_too(
    client, upstream, math, gateway, provider
):
    def limit():
        provider.native_tools = False
        provider.save()

    await run_in_thread(limit)
    await gateway.reload_rows()
    upstream.queue_scripts(answer_with_calls(text=IN_WORDS), answer_with_calls(text="It is 5."))
    events = await read_events(client, model="m", input="2+3?", tools=[TOOL])
    assert list_kinds(events[-1].response) == ["mcp_list_tools", "mcp_call", "message"]
    assert events[-1].response.output_text == "It is 5."


async def test_a_models_row_decides_before_the_setting(client, upstream, math, gateway):
    await run_in_thread(ChatModel.objects.update, server_tools=["none"])
    await gateway.reload_rows()
    response = await client.responses.create(model="m", input="hi", tools=[TOOL])
    assert list_kinds(response) == ["message"]


async def test_an_error_before_the_first_chunk_keeps_its_status(gateway, alice, upstream, math):
    upstream.set_default_script(send_refusal(400, "Wrong.", "some_code"))
    body = {"model": "m", "input": "hi", "tools": [TOOL], "stream": True}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert answer.status == 400
    assert answer.error["message"] == "Wrong."


async def test_an_error_of_a_later_round_fails_the_response(client, upstream, math):
    upstream.queue_scripts(answer_with_calls(ADD), send_refusal(400, "Wrong.", "some_code"))
    events = await read_events(client, model="m", input="2+3?", tools=[TOOL])
    assert events[-1].type == "response.failed"
    assert list_kinds(events[-1].response) == ["mcp_list_tools", "mcp_call"]
    record = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in record.attempts] == ["answered", "Rejected"]


async def test_a_caller_who_leaves_ends_the_call_of_the_tool(
    gateway, alice, upstream, math, mcp_script, mcp_upstream
):
    gate = Gate()
    mcp_script.scripts["add"] = send_pieces(gate)
    upstream.queue_scripts(answer_with_calls(ADD))
    body = {"model": "m", "input": "2+3?", "tools": [TOOL], "stream": True}
    task = asyncio.create_task(gateway.send_request("POST", "/v1/responses", alice.key, json=body))
    await gate.wait_until_reached()
    exchange = mcp_upstream.last_exchange
    task.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await exchange.gateway_left.wait()
    gate.open()
