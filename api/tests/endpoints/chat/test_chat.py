"""Chat completions that go well: what the caller gets, whole and streamed."""

import json

from api.tests.endpoints.chat.offered_tools import TOOLS
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream


async def test_a_whole_answer_has_every_key_that_the_official_schema_requires(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_reply(speech.chat_completion("Hi.", message={"refusal": None})))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    whole = answer.json
    assert whole["id"].startswith("chatcmpl-")
    assert whole["object"] == "chat.completion"
    assert isinstance(whole["created"], int)
    assert whole["model"] == "m"
    message = {"role": "assistant", "content": "Hi.", "refusal": None}
    assert whole["choices"] == [
        {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    ]
    assert whole["usage"]["total_tokens"] == 12


async def test_keys_that_an_upstream_leaves_out_are_put_in(gateway, upstream, alice):
    bare = {"choices": [{"message": {"content": "Hi."}}], "usage": speech.token_usage()}
    upstream.queue_scripts(send_reply(bare))
    whole = (await gateway.request_chat(alice.key)).json
    choice = whole["choices"][0]
    assert {"id", "object", "created", "model", "usage"} <= whole.keys()
    assert whole["object"] == "chat.completion"
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert choice["message"] == {"role": "assistant", "content": "Hi.", "refusal": None}


async def test_headers_of_an_answer(gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(speech.chat_completion(), set_cookie="s=1", x_internal="upstream", server="them")
    )
    for answer in (
        await gateway.request_chat(alice.key),
        await gateway.request_chat(alice.key, stream=True),
    ):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-processing-ms"].isdigit()
        assert answer.headers["openai-version"]
        assert "no-store" in answer.headers["cache-control"]
        assert "authorization" in answer.headers["vary"].lower()
        assert not {"set-cookie", "x-internal", "server"} & set(answer.headers)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_the_request_id_finds_the_row_and_the_answer(gateway, upstream, alice):
    answer = await gateway.request_chat(alice.key)
    row = await rows.read_only_usage_record()
    assert answer.headers["x-request-id"] == f"req_{row.id.hex}"
    assert answer.json["id"] == f"chatcmpl-{row.id.hex}"


async def test_a_stream_is_one_answer_in_all_its_chunks(gateway, upstream, alice):
    other = speech.chat_chunk({"content": " you"}) | {
        "id": "another",
        "created": 1,
        "model": "another",
    }
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hello", " to"), other, speech.chat_chunk(finish="stop"), DONE
        )
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.is_complete
    events = answer.events
    assert (
        len({(event["id"], event["created"], event["model"], event["object"]) for event in events})
        == 1
    )
    assert (events[0]["model"], events[0]["object"]) == ("m", "chat.completion.chunk")
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in event["choices"][0]["delta"] for event in events[1:])
    assert answer.text == "Hello to you"
    assert events[-1]["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert all("usage" not in event for event in events)


async def test_chunks_are_passed_on_as_they_come(gateway, upstream, alice):
    gates = Gate(), Gate()
    first, second, end = *speech.content_chunks("one", "two"), speech.chat_chunk(finish="stop")
    upstream.queue_scripts(send_stream(first, gates[0], second, gates[1], end, DONE))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until('"one"')
        assert b'"two"' not in reading.body
        gates[0].open()
        await reading.read_until('"two"')
        assert b'finish_reason":"stop' not in reading.body
        gates[1].open()
        assert (await reading.read_rest()).is_complete


async def test_unknown_fields_of_an_answer_travel_through(gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(
                system_fingerprint="fp", x_cost=0.1, message={"reasoning_content": "hm", "x": [1]}
            )
        ),
        send_stream(
            speech.chat_chunk(
                {"role": "assistant", "content": "", "reasoning_content": "hm", "x": [1]},
                x_cost=0.1,
            ),
            speech.chat_chunk(finish="stop"),
            DONE,
        ),
    )
    whole = (await gateway.request_chat(alice.key)).json
    assert (whole["system_fingerprint"], whole["x_cost"]) == ("fp", 0.1)
    assert whole["choices"][0]["message"]["reasoning_content"] == "hm"
    event = (await gateway.request_chat(alice.key, stream=True)).events[0]
    assert event["x_cost"] == 0.1
    assert event["choices"][0]["delta"]["reasoning_content"] == "hm"
    assert event["choices"][0]["delta"]["x"] == [1]


async def test_several_choices_come_whole_and_streamed(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(speech.chat_completion("Hi.", n=3)))
    whole = (await gateway.request_chat(alice.key, n=3)).json
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"role": "assistant", "content": "a"}),
            speech.chat_chunk({"role": "assistant", "content": "b"}, index=1),
            speech.chat_chunk({"content": "B"}, index=1),
            speech.chat_chunk(finish="stop", index=1),
            speech.chat_chunk({"content": "A"}),
            speech.chat_chunk(finish="length"),
            DONE,
        )
    )
    answer = await gateway.request_chat(alice.key, n=2, stream=True)
    said = {0: "", 1: ""}
    for event in answer.events:
        choice = event["choices"][0]
        said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == {0: "aA", 1: "bB"}
    assert answer.finish_reasons == ["stop", "length"]
    assert answer.is_complete


async def test_tool_calls_come_whole_and_in_pieces(gateway, upstream, alice):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
    }
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(None, finish="tool_calls", message={"tool_calls": [call]})
        ),
        send_stream(
            speech.chat_chunk(
                {"role": "assistant", "content": None, "tool_calls": [{"index": 0} | call]}
            ),
            speech.chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": " "}}]}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        ),
    )
    choice = (await gateway.request_chat(alice.key, tools=TOOLS)).json["choices"][0]
    assert choice["message"]["tool_calls"] == [call]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    answer = await gateway.request_chat(alice.key, tools=TOOLS, stream=True)
    pieces = [
        c for event in answer.events for c in event["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert [piece["index"] for piece in pieces] == [0, 0]
    assert pieces[0]["id"] == "call_1"
    assert answer.finish_reasons == ["tool_calls"]


async def test_lone_surrogates_and_invalid_bytes_of_an_upstream_become_text(
    gateway, upstream, alice
):
    broken = json.dumps(speech.chat_completion("a\ud800b")).encode()
    upstream.queue_scripts(
        send_reply(broken),
        send_reply(
            json.dumps(speech.chat_completion("a?b")).encode().replace(b"a?b", b"a\xff\xe9b")
        ),
    )
    assert (await gateway.request_chat(alice.key)).text == "a\ufffdb"
    assert (await gateway.request_chat(alice.key)).text == "a\ufffd\ufffdb"
