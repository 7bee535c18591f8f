"""Tools that fail, take too long or say too much; models that go on; the caller's own tools."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing.mcp_scripts import ADD_TOOL, make_text_result
from proxysite.testing.tool_scripts import answer_with_calls, make_call
from proxysite.testing.upstream import keep_silent, send_refusal, send_reply

pytestmark = pytest.mark.settings(SERVER_TOOLS=["mcp"])
TOOL = {"type": "mcp", "server_label": "math", "require_approval": "never"}
ADD = make_call("math__add", {"a": 2, "b": 3})
OWN = {"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}


async def call_once(client, upstream, call=ADD):
    """Return the item of a call, and what the model was told of it."""
    upstream.queue_scripts(answer_with_calls(call), answer_with_calls(text="Well."))
    response = await client.responses.create(model="m", input="2+3?", tools=[TOOL])
    assert (response.status, response.output_text) == ("completed", "Well.")
    return response.output[1], upstream.requests[-1].json["messages"][-1]["content"]


async def test_a_tool_that_reports_an_error_has_it_in_its_item(client, upstream, math, mcp_script):
    mcp_script.tools["add"] = (ADD_TOOL, lambda _: make_text_result("overflow", is_error=True))
    item, told = await call_once(client, upstream)
    assert (item.status, item.output, item.error.type) == (
        "failed",
        None,
        "mcp_tool_execution_error",
    )
    assert item.error.content == [{"type": "text", "text": "overflow"}]
    assert told == "The tool failed: overflow"


@pytest.mark.parametrize(
    ("script", "kind", "code", "words"),
    [
        (send_refusal(500), "http_error", 500, "500"),
        (send_reply({"jsonrpc": "2.0", "id": 2, "error": {"code": -32603, "message": "Oh."}}),
         "mcp_protocol_error", -32603, "Oh."),
        (send_reply(b"x" * 5_000), "http_error", 502, "longer than 2000 bytes"),
        (send_reply(b"", status=302, location="http://169.254.169.254/"), "http_error", 302,
         "redirect"),
        (keep_silent, "http_error", 504, "in time"),
    ],
    ids=["status", "protocol", "huge", "redirect", "slow"],
)  # fmt: skip
async def test_a_server_that_fails_has_the_error_in_its_item(
    client, upstream, math, mcp_script, script, kind, code, words
):
    def bound():
        math.answer_bytes = 2_000
        math.call_seconds = 0.3
        math.save()

    await run_in_thread(bound)
    mcp_script.scripts["add"] = script
    item, told = await call_once(client, upstream)
    assert (item.status, item.error.type, item.error.code) == ("failed", kind, code)
    assert words in item.error.message
    assert words in told


@pytest.mark.settings(SERVER_TOOL_RESULT_BYTES=300)
async def test_a_long_result_is_cut(client, upstream, math, mcp_script):
    mcp_script.tools["add"] = (ADD_TOOL, lambda _: make_text_result("ä" * 400))
    item, told = await call_once(client, upstream)
    assert item.output == told
    assert told.startswith("ä" * 150 + "\n[cut")


async def test_arguments_that_are_no_json_are_said_to_the_model(client, upstream, math, mcp_script):
    item, told = await call_once(client, upstream, make_call("math__add", '{"a": '))
    assert item.error.type == "mcp_protocol_error"
    assert "no JSON object" in told
    assert "tools/call" not in mcp_script.methods


@pytest.mark.parametrize("bound", ["max_tool_calls", "rounds"])
async def test_a_model_that_does_not_stop_has_to_answer(
    client, upstream, math, mcp_script, settings, bound
):
    fields = {"max_tool_calls": 2} if bound == "max_tool_calls" else {}
    settings.SERVER_TOOL_ROUNDS = 10 if fields else 3
    upstream.set_default_script(answer_with_calls(ADD))
    response = await client.responses.create(model="m", input="?", tools=[TOOL], **fields)
    assert response.status == "completed"
    assert mcp_script.methods.count("tools/call") == 2
    assert [request.json.get("tool_choice") for request in upstream.requests] == [
        None,
        None,
        "none",
    ]


async def test_calls_of_one_round_beyond_the_limit_are_not_made(client, upstream, math, mcp_script):
    calls = [make_call("math__add", {"a": n, "b": 0}, f"call_{n}") for n in range(3)]
    upstream.queue_scripts(answer_with_calls(*calls), answer_with_calls(text="Well."))
    response = await client.responses.create(model="m", input="?", tools=[TOOL], max_tool_calls=2)
    kinds = [item.type for item in response.output]
    assert kinds == ["mcp_list_tools", "mcp_call", "mcp_call", "message"]
    results = [message["content"] for message in upstream.requests[1].json["messages"][-3:]]
    assert results[:2] == ["0", "1"]
    assert "no calls left" in results[2]


async def test_the_callers_own_calls_end_the_response_and_the_others_are_kept(
    client, upstream, math, mcp_script
):
    own_call = make_call("mine", {}, "call_own")
    upstream.queue_scripts(answer_with_calls(ADD, own_call), answer_with_calls(text="Done."))
    response = await client.responses.create(model="m", input="?", tools=[TOOL, OWN])
    listed, function_call, mcp_call = response.output
    assert (listed.type, function_call.name, mcp_call.output) == ("mcp_list_tools", "mine", "5")
    followed = await client.responses.create(
        model="m",
        previous_response_id=response.id,
        tools=[TOOL, OWN],
        input=[{"type": "function_call_output", "call_id": "call_own", "output": "ok"}],
    )
    assert [item.type for item in followed.output] == ["message"]
    messages = upstream.requests[-1].json["messages"]
    assert sorted(call["id"] for call in messages[1]["tool_calls"]) == ["call_1", "call_own"]
    results = {message["tool_call_id"]: message["content"] for message in messages[2:]}
    assert results == {"call_1": "5", "call_own": "ok"}
