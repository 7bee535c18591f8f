"""Tools of MCP servers in a response: the loop of calls, its items and events, and its record."""

from itertools import groupby

import pytest

from proxysite.testing import rows
from proxysite.testing.tool_scripts import answer_with_calls, make_call

pytestmark = pytest.mark.settings(SERVER_TOOLS=["mcp"])
TOOL = {"type": "mcp", "server_label": "math", "require_approval": "never"}
ADD = make_call("math__add", {"a": 2, "b": 3})
EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.mcp_list_tools.in_progress",
    "response.mcp_list_tools.completed",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.mcp_call.in_progress",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_call.completed",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def queue_addition(upstream):
    """Let the model add two numbers, and then say the sum."""
    upstream.queue_scripts(
        answer_with_calls(ADD, thinking="I must add."), answer_with_calls(text="It is 5.")
    )


@pytest.mark.parametrize("keeps_sessions", [False, True], ids=["stateless", "sessions"])
async def test_a_streamed_response_calls_a_tool_and_goes_on(
    gateway, upstream, client, math, mcp_script, mcp_upstream, keeps_sessions
):
    mcp_script.keeps_sessions = keeps_sessions
    queue_addition(upstream)
    async with await client.responses.create(
        model="m", input="2+3?", tools=[TOOL], stream=True
    ) as stream:
        events = [event async for event in stream]
    assert [kind for kind, _ in groupby(event.type for event in events)] == EVENTS
    assert [event.sequence_number for event in events] == list(range(len(events)))
    listed, thought, call, message = events[-1].response.output
    assert (listed.type, listed.tools[0].name) == ("mcp_list_tools", "add")
    assert thought.type == "reasoning"
    assert (call.name, call.server_label, call.output) == ("add", "math", "5")
    assert (call.status, call.error, call.arguments) == ("completed", None, '{"a": 2, "b": 3}')
    assert message.content[0].text == "It is 5."
    assert mcp_upstream.requests[0].headers["x-team"] == "red"
    first, second = (request.json for request in upstream.requests)
    assert first["tools"][0]["function"]["name"] == "math__add"
    assert second["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "5"}
    assert second["messages"][-2]["tool_calls"] == [ADD]
    assert second["messages"][-2]["reasoning_content"] == "I must add."


async def test_a_whole_response_has_the_same_items_as_a_streamed_one(
    gateway, upstream, client, math
):
    queue_addition(upstream)
    whole = await client.responses.create(model="m", input="2+3?", tools=[TOOL])
    queue_addition(upstream)
    async with await client.responses.create(
        model="m", input="2+3?", tools=[TOOL], stream=True
    ) as stream:
        events = [event async for event in stream]
    bare = [
        [item.model_dump(exclude={"id"}) for item in response.output]
        for response in (whole, events[-1].response)
    ]
    assert bare[0] == bare[1]
    assert whole.usage == events[-1].response.usage


async def test_all_upstream_calls_are_in_the_record_of_the_request(gateway, upstream, client, math):
    queue_addition(upstream)
    response = await client.responses.create(model="m", input="2+3?", tools=[TOOL])
    record = await rows.read_only_usage_record()
    assert (record.prompt_tokens, record.completion_tokens) == (18, 6)
    assert response.usage.input_tokens == 18
    assert [attempt["reason"] for attempt in record.attempts] == ["", "after math.add completed"]
