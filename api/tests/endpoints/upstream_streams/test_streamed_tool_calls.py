"""Tool calls and reasoning in streams."""

from api.tests.endpoints.upstream_streams.streamed_hello import HELLO, STOP
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_stream


def join_tool_calls(answer):
    """Tool calls as a client puts them together: {index: [ids, name, arguments]}."""
    whole = {}
    for said in answer.events:
        for call in said["choices"][0]["delta"].get("tool_calls") or ():
            ids, names, pieces = whole.setdefault(call["index"], (set(), [], []))
            function = call.get("function") or {}
            ids |= {call["id"]} if call.get("id") else set()
            names += [function["name"]] if function.get("name") else []
            pieces.append(function.get("arguments") or "")
    return {
        index: (ids, "".join(names), "".join(pieces))
        for index, (ids, names, pieces) in whole.items()
    }


def call_chunk(**fields):
    return speech.chat_chunk({"tool_calls": [fields]})


async def test_tool_calls_by_turns_keep_apart(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            call_chunk(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            call_chunk(index=1, id="b", type="function", function={"name": "g", "arguments": ""}),
            call_chunk(index=0, function={"arguments": '{"x": "\\u00'}),
            call_chunk(index=1, function={"arguments": "{}"}),
            call_chunk(index=0, function={"arguments": 'e9"}'}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        )
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert join_tool_calls(answer) == {0: ({"a"}, "f", '{"x": "\\u00e9"}'), 1: ({"b"}, "g", "{}")}


async def test_tool_calls_without_index_or_id_get_stable_ones(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            call_chunk(function={"name": "f", "arguments": '{"a":'}),
            call_chunk(function={"arguments": " 1}"}),
            call_chunk(function={"name": "g", "arguments": "{}"}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        )
    )
    found = join_tool_calls(await gateway.request_chat(alice.key, stream=True))
    assert [(name, text) for _, name, text in found.values()] == [("f", '{"a": 1}'), ("g", "{}")]
    ids = [next(iter(ids)) for ids, _, _ in found.values()]
    assert all(len(of_call) == 1 for of_call, _, _ in found.values())
    assert len(set(ids)) == 2


async def test_reasoning_is_passed_on_and_counted(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(speech.chat_chunk({"reasoning_content": "one two"}), *HELLO, STOP, DONE)
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.events[0]["choices"][0]["delta"]["reasoning_content"] == "one two"
    row = await rows.read_only_usage_record()
    assert (row.reasoning_tokens, row.completion_tokens) == (2, 4)
