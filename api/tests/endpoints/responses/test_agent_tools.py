"""Namespaced and custom tools of coding agents, from request to stored response (F1)."""

import orjson
import pytest

from conversations.models import Item
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

RESPONSES = "/v1/responses"
PATCH = '*** Begin Patch\n*** Add File: a.txt\n+"é" \\d 😀\n*** End Patch\n'
TOOLS = [
    {"type": "function", "name": "exec_command", "parameters": {"type": "object"}},
    {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "description": "Sub-agents.",
        "tools": [{"type": "function", "name": "close_agent", "parameters": {"type": "object"}}],
    },
    {"type": "tool_search", "execution": "client"},
    {"type": "web_search", "external_web_access": True},
]
ARGUMENTS = orjson.dumps({"input": PATCH}).decode()
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "apply_patch", "arguments": ARGUMENTS}},
    {
        "id": "c2",
        "type": "function",
        "function": {"name": "multi_agent_v1__close_agent", "arguments": '{"id": 1}'},
    },
]
EXPECTED = [
    {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": PATCH},
    {
        "type": "function_call",
        "call_id": "c2",
        "name": "close_agent",
        "namespace": "multi_agent_v1",
        "arguments": '{"id": 1}',
    },
]
BOTH = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


def call_tools(streams):
    """The script of an upstream that calls both tools, with the arguments in small pieces."""
    if not streams:
        message = {"tool_calls": CALLS}
        return send_reply(speech.chat_completion(None, message=message, finish="tool_calls"))
    chunks = []
    for index, call in enumerate(CALLS):
        function = call["function"]
        head = call | {"index": index, "function": function | {"arguments": ""}}
        chunks.append(speech.chat_chunk({"tool_calls": [head]}))
        arguments = function["arguments"]
        for start in range(0, len(arguments), 3):
            piece = {"index": index, "function": {"arguments": arguments[start : start + 3]}}
            chunks.append(speech.chat_chunk({"tool_calls": [piece]}))
    end = [speech.chat_chunk(finish="tool_calls"), speech.usage_chunk(), DONE]
    return send_stream(*chunks, *end)


async def create(gateway, person, **fields):
    body = {"model": "m", "input": "Patch it.", "tools": TOOLS} | fields
    return await gateway.send_request("POST", RESPONSES, person.key, json=body)


async def find_response(gateway, person, streams, **fields):
    """The response object, whole or as the last event of its stream has it."""
    answer = await create(gateway, person, stream=streams, **fields)
    assert answer.status == 200, answer.body
    return read_events(answer)[-1]["response"] if streams else answer.json


def read_events(answer):
    lines = answer.body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def drop_ids(items):
    return [
        {name: value for name, value in item.items() if name not in ("id", "status")}
        for item in items
    ]


@BOTH
@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
async def test_the_calls_of_an_answer_lead_back_to_their_tools(
    gateway, upstream, alice, streams, store
):
    upstream.queue_scripts(call_tools(streams))
    response = await find_response(gateway, alice, streams, store=store)
    assert drop_ids(response["output"]) == EXPECTED
    assert [item["id"][:4] for item in response["output"]] == ["ctc_", "fc_" + response["id"][5]]
    assert response["tools"][2] == TOOLS[2]
    asked = upstream.last_exchange.request.json
    assert [tool["function"]["name"] for tool in asked["tools"]] == [
        "exec_command",
        "apply_patch",
        "multi_agent_v1__close_agent",
    ]
    assert "web_search_options" not in asked


@BOTH
async def test_a_stored_response_has_the_calls_as_they_were_told(gateway, upstream, alice, streams):
    upstream.queue_scripts(call_tools(streams))
    response = await find_response(gateway, alice, streams)
    found = await gateway.send_request("GET", f"{RESPONSES}/{response['id']}", alice.key)
    assert found.json["output"] == response["output"]


@BOTH
@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
async def test_the_next_request_goes_up_with_calls_and_outputs(
    gateway, upstream, alice, streams, store
):
    upstream.queue_scripts(call_tools(streams), send_reply(speech.chat_completion("Done.")))
    first = await find_response(gateway, alice, streams, store=store)
    outputs = [
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "Success."},
        {"type": "function_call_output", "call_id": "c2", "output": "closed"},
    ]
    if store:
        answer = await create(gateway, alice, input=outputs, previous_response_id=first["id"])
    else:
        question = {"role": "user", "content": "Patch it."}
        items = [question, *first["output"], *outputs]
        answer = await create(gateway, alice, input=items, store=False)
    assert answer.json["status"] == "completed"
    messages = upstream.last_exchange.request.json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    sent = messages[1]["tool_calls"]
    assert [call["function"]["name"] for call in sent] == [
        "apply_patch",
        "multi_agent_v1__close_agent",
    ]
    assert orjson.loads(sent[0]["function"]["arguments"]) == {"input": PATCH}
    assert [message["content"] for message in messages[2:]] == ["Success.", "closed"]


async def test_the_input_of_a_custom_tool_is_streamed_by_its_own_events(gateway, upstream, alice):
    upstream.queue_scripts(call_tools(streams=True))
    answer = await create(gateway, alice, stream=True)
    events = [event for event in read_events(answer) if event.get("output_index") == 0]
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[0] == "output_item.added"
    assert set(kinds[1:-2]) == {"custom_tool_call_input.delta"}
    assert kinds[-2:] == ["custom_tool_call_input.done", "output_item.done"]
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert "".join(deltas) == PATCH
    assert (events[0]["item"]["input"], events[-2]["input"]) == ("", PATCH)
    assert {event.get("item_id", events[0]["item"]["id"]) for event in events} == {
        events[0]["item"]["id"]
    }


async def test_hosted_items_of_the_input_are_kept_and_not_sent(gateway, upstream, alice):
    items = [
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
        {"role": "user", "content": "Hi"},
    ]
    made = await create(gateway, alice, input=items)
    assert made.status == 200
    assert upstream.last_exchange.request.json["messages"] == [{"role": "user", "content": "Hi"}]
    path = f"{RESPONSES}/{made.json['id']}/input_items?order=asc"
    listed = await gateway.send_request("GET", path, alice.key)
    assert [item["type"] for item in listed.json["data"]] == [
        "compaction",
        "web_search_call",
        "message",
    ]


async def test_a_call_whose_id_is_very_long_can_be_answered(gateway, upstream, alice):
    """F14: an upstream's id has any length, and is compared whole."""
    ids = ["call_" + "x" * 1_000 + end for end in "ab"]
    function = {"name": "exec_command", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    message = {"tool_calls": calls}
    upstream.queue_scripts(
        send_reply(speech.chat_completion(None, message=message, finish="tool_calls"))
    )
    first = await create(gateway, alice)
    outputs = [
        {"type": "function_call_output", "call_id": call_id, "output": call_id[-1]}
        for call_id in reversed(ids)
    ]
    second = await create(gateway, alice, input=outputs, previous_response_id=first.json["id"])
    assert second.status == 200, second.body
    messages = upstream.last_exchange.request.json["messages"]
    assert [message["content"] for message in messages[2:]] == ["a", "b"]


async def test_custom_calls_of_a_chat_upstream_are_kept_in_its_form(gateway, upstream, alice):
    """F6: in chat an upstream that knows custom tools gets its calls back as they came."""
    call = {"id": "c1", "type": "custom", "custom": {"name": "code", "input": "print(1)"}}
    tools = [{"type": "custom", "custom": {"name": "code"}}]
    messages = [
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    more = {"tools": tools, "conversation_id": "c"}
    assert (await gateway.request_chat(alice.key, messages=messages, **more)).status == 200
    stored = await run_in_thread(lambda: list(Item.objects.values_list("type", flat=True)))
    assert "custom_tool_call" in stored
    question = {"role": "user", "content": "2?"}
    await gateway.request_chat(alice.key, messages=[question], **more)
    assert upstream.last_exchange.request.json["messages"][1]["tool_calls"] == [call]
    await gateway.request_chat(alice.key, messages=[question], conversation_id="c")
    [told] = upstream.last_exchange.request.json["messages"][1]["tool_calls"]
    assert (told["type"], told["function"]["name"]) == ("function", "code")
