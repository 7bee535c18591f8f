"""Chat completions that go well: what the upstream is asked, what the caller gets, what the ledger
keeps.
"""

import asyncio
import json

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream

TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
]


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


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_the_upstream_is_asked_with_its_own_model_and_token_and_nothing_of_the_callers(
    gateway, upstream, alice, streams
):
    headers = {
        "cookie": "session=1",
        "x-forwarded-for": "1.2.3.4",
        "openai-organization": "org",
        "x-evil": "1",
    }
    await gateway.request_chat(alice.key, stream=streams, headers=headers)
    asked = upstream.requests[0]
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.bearer_token == "sk-up-1"
    assert asked.json["model"] == "upstream-model"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["content-type"] == "application/json"
    assert (
        not {"cookie", "x-forwarded-for", "openai-organization", "x-evil", "x-request-id"}
        & asked.headers.keys()
    )
    assert alice.key.encode() not in asked.head + asked.body


async def test_every_other_field_reaches_the_upstream_as_it_is(gateway, upstream, alice):
    sent = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Grüß Gott 🙂 \u2028", "name": "ann", "x_vendor": [1]},
        ],
        "temperature": 0.5,
        "max_completion_tokens": 7,
        "seed": 3,
        "stop": ["END"],
        "logit_bias": {"50256": -100},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object"}},
        },
        "tools": TOOLS,
        "tool_choice": "required",
        "metadata": {"a": "b"},
        "x_unknown": {"deep": [None, True, 1.5]},
        "thinking": {"type": "enabled"},
    }
    assert (await gateway.request_chat(alice.key, **sent)).status == 200
    asked = upstream.requests[0].json
    assert {name: asked[name] for name in sent} == sent
    assert asked.keys() == sent.keys() | {"model"}


async def test_fields_that_are_null_are_as_good_as_absent(gateway, upstream, alice):
    fields = (
        "temperature",
        "top_p",
        "n",
        "stop",
        "stream",
        "stream_options",
        "max_tokens",
        "seed",
        "user",
        "tools",
    )
    more = (
        "tool_choice",
        "logprobs",
        "top_logprobs",
        "response_format",
        "logit_bias",
        "metadata",
        "reasoning_effort",
    )
    answer = await gateway.request_chat(alice.key, **dict.fromkeys((*fields, *more)))
    assert answer.status == 200
    assert answer.text == "Hello there!"


async def test_parts_of_all_kinds_reach_the_upstream(gateway, upstream, alice):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "ms://1"}},
    ]
    messages = [{"role": "user", "content": parts}]
    assert (await gateway.request_chat(alice.key, messages=messages)).status == 200
    assert upstream.requests[0].json["messages"] == messages


async def test_a_conversation_with_tools_reaches_the_upstream(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "reasoning_content": "hm",
            "partial": True,
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny", "name": "weather"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "no"},
        {"role": "user", "content": ""},
    ]
    assert (await gateway.request_chat(alice.key, messages=messages, tools=TOOLS)).status == 200
    assert upstream.requests[0].json["messages"] == messages


async def test_our_own_fields_stay_here(gateway, upstream, alice):
    await gateway.request_chat(alice.key, conversation_id="c", session_id="c", store=False)
    assert upstream.requests[0].json.keys() == {"model", "messages"}


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


async def test_usage_is_a_chunk_of_its_own_only_when_it_was_asked_for(gateway, upstream, alice):
    answer = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": True}
    )
    *others, last = answer.events
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"] == speech.token_usage()
    assert last["id"] == others[0]["id"]
    silent = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": False}
    )
    assert all("usage" not in event and event["choices"] for event in silent.events)
    assert all(asked.json["stream_options"]["include_usage"] is True for asked in upstream.requests)


async def test_the_upstreams_figures_are_kept_and_marked_as_its_own(gateway, upstream, alice):
    counts = speech.token_usage(
        100,
        20,
        prompt_tokens_details={"cached_tokens": 64},
        completion_tokens_details={"reasoning_tokens": 5},
    )
    upstream.queue_scripts(send_reply(speech.chat_completion(usage=counts)))
    assert (await gateway.request_chat(alice.key)).json["usage"] == counts
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.reasoning_tokens, row.cached_tokens) == (
        100,
        20,
        5,
        64,
    )
    assert not row.estimated


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_usage_that_the_upstream_does_not_give_is_counted_and_marked(
    gateway, upstream, alice, streams
):
    text = "The quick brown fox jumps over the lazy dog."
    upstream.queue_scripts(
        send_stream(*speech.content_chunks(text), speech.chat_chunk(finish="stop"), DONE)
        if streams
        else send_reply(speech.chat_completion(text, usage=None))
    )
    more = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    answer = await gateway.request_chat(alice.key, **more)
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens == 10
    assert row.prompt_tokens > 0
    told = answer.events[-1]["usage"] if streams else answer.json["usage"]
    assert told["completion_tokens"] == 10
    assert told["total_tokens"] == row.prompt_tokens + 10


@pytest.mark.parametrize(
    "counts",
    [
        speech.token_usage(-1, 3),
        speech.token_usage(9, 10**12),
        {"prompt_tokens": "9"},
        {"prompt_tokens": None},
        "many",
    ],
)
async def test_usage_that_cannot_be_believed_is_counted_instead(gateway, upstream, alice, counts):
    upstream.queue_scripts(send_reply(speech.chat_completion("one two three", usage=counts)))
    told = (await gateway.request_chat(alice.key)).json["usage"]
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens == told["completion_tokens"] == 3


async def test_the_row_tells_who_asked_what_and_who_answered(gateway, upstream, alice, provider):
    await gateway.request_chat(alice.key, stream=True)
    row = await rows.read_only_usage_record()
    token = await run_in_thread(provider.tokens.get)
    assert (row.key_id, row.user_id) == (alice.row.pk, alice.user.pk)
    assert (row.provider_id, row.token_id) == (provider.pk, token.pk)
    assert (row.endpoint, row.model, row.stream) == ("chat/completions", "m", True)
    assert (row.status, row.http_status, row.error_code) == ("complete", 200, "")
    attempt = row.attempts[0]
    assert len(row.attempts) == 1
    assert (attempt["provider"], attempt["model"], attempt["outcome"]) == (
        "fake",
        "upstream-model",
        "answered",
    )
    assert attempt["status"] == 200
    times = row.queue_ms, row.connect_ms, row.first_byte_ms, row.total_ms
    assert all(time is not None and time >= 0 for time in times)
    assert row.queue_ms <= row.first_byte_ms <= row.total_ms


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_the_last_byte_waits_for_the_row(gateway, upstream, alice, ledger_lock, streams):
    async with ledger_lock:
        asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
        await upstream.wait_for_request()
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
    answer = await asking
    assert answer.status == 200
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_what_a_client_saw_complete_is_in_the_ledger_already(gateway, upstream, alice):
    for count in range(1, 11):
        async with gateway.open_stream(alice.key) as reading:
            await reading.read_until("[DONE]")
            assert len(await rows.read_usage_records()) == count


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
