"""Calls that need an approval: asked for, given, refused, and of nobody else's responses."""

import openai
import pytest

from api.tests.endpoints.server_tools.conftest import read_events
from providers.database.database_threads import run_in_thread
from proxysite.testing.tool_scripts import answer_with_calls, make_call

pytestmark = pytest.mark.settings(SERVER_TOOLS=["mcp"])
TOOL = {"type": "mcp", "server_label": "math"}
ADD = make_call("math__add", {"a": 2, "b": 3})


async def ask_for_approval(client, upstream, **fields):
    """Return the response that asks for an approval."""
    upstream.queue_scripts(answer_with_calls(ADD))
    body = {"model": "m", "input": "2+3?", "tools": [TOOL]} | fields
    return await client.responses.create(**body)


def make_answer(response, *, approve, **fields):
    request_id = response.output[-1].id
    answer = {"type": "mcp_approval_response", "approval_request_id": request_id}
    return answer | {"approve": approve} | fields


async def test_by_default_a_call_waits_for_an_approval(client, upstream, math, mcp_script):
    response = await ask_for_approval(client, upstream)
    assert [item.type for item in response.output] == ["mcp_list_tools", "mcp_approval_request"]
    request = response.output[-1]
    assert (request.name, request.server_label) == ("add", "math")
    assert request.arguments == '{"a": 2, "b": 3}'
    assert response.status == "completed"
    assert "tools/call" not in mcp_script.methods


@pytest.mark.parametrize("stored", [True, False], ids=["continued", "sent again"])
async def test_an_approved_call_is_made_at_the_beginning_of_the_next_response(
    client, upstream, math, mcp_script, stored
):
    response = await ask_for_approval(client, upstream, store=stored)
    answer = make_answer(response, approve=True)
    fields = {"previous_response_id": response.id, "input": [answer]}
    if not stored:
        items = [item.model_dump(exclude_none=True) for item in response.output]
        question = {"role": "user", "content": "2+3?"}
        fields = {"input": [question, *items, answer], "store": False}
    upstream.queue_scripts(answer_with_calls(text="It is 5."))
    events = await read_events(client, model="m", tools=[TOOL], **fields)
    call, message = events[-1].response.output
    assert (call.type, call.output, call.status) == ("mcp_call", "5", "completed")
    assert call.approval_request_id == response.output[-1].id
    assert message.content[0].text == "It is 5."
    question, called, result = upstream.requests[-1].json["messages"]
    assert question["content"] == "2+3?"
    assert called["tool_calls"][0]["function"]["name"] == "math__add"
    assert result == {
        "role": "tool",
        "tool_call_id": called["tool_calls"][0]["id"],
        "content": "5",
    }
    assert mcp_script.methods.count("tools/call") == 1


async def test_a_refused_call_is_not_made_and_the_model_knows(client, upstream, math, mcp_script):
    response = await ask_for_approval(client, upstream)
    answer = make_answer(response, approve=False, reason="Too dangerous.")
    upstream.queue_scripts(answer_with_calls(text="Then not."))
    followed = await client.responses.create(
        model="m", previous_response_id=response.id, input=[answer], tools=[TOOL]
    )
    assert followed.output_text == "Then not."
    assert "tools/call" not in mcp_script.methods
    last = upstream.requests[-1].json["messages"][-1]
    assert last["role"] == "user"
    assert "I do not approve the call of add" in last["content"]
    assert "Too dangerous." in last["content"]


async def test_nobody_approves_a_call_of_somebody_else(
    client, gateway, upstream, math, mallory, mcp_script
):
    response = await ask_for_approval(client, upstream)
    answer = make_answer(response, approve=True)
    body = {"model": "m", "input": [answer], "tools": [TOOL]}
    refusal = await gateway.send_request("POST", "/v1/responses", mallory.key, json=body)
    assert refusal.status == 400
    assert refusal.error["param"] == "input[0].approval_request_id"
    assert "tools/call" not in mcp_script.methods


async def test_the_row_may_want_approvals_that_the_request_does_not(client, upstream, math):
    math.needs_approval = True
    await run_in_thread(math.save)
    response = await ask_for_approval(
        client, upstream, tools=[TOOL | {"require_approval": "never"}]
    )
    assert response.output[-1].type == "mcp_approval_request"
    with pytest.raises(openai.BadRequestError, match="need an approval"):
        await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "2+3?"}],
            tools=[TOOL | {"require_approval": "never"}],
        )


@pytest.mark.parametrize(
    ("policy", "asks"),
    [
        ({"never": {"tool_names": ["add"]}}, False),
        ({"never": {"tool_names": ["other"]}}, True),
        ({"always": {"tool_names": ["add"]}}, True),
        ({"always": {"tool_names": ["other"]}}, False),
        ({"never": {"read_only": True}}, True),
    ],
)
async def test_the_request_may_name_the_tools_that_need_approvals(
    client, upstream, math, policy, asks
):
    upstream.queue_scripts(answer_with_calls(ADD), answer_with_calls(text="5"))
    response = await client.responses.create(
        model="m", input="2+3?", tools=[TOOL | {"require_approval": policy}]
    )
    expected = "mcp_approval_request" if asks else "message"
    assert response.output[-1].type == expected
