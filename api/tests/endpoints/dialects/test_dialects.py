"""Requests reach upstreams that refuse what they do not know: F2, F7, F8, F16, F17, A9."""

import pytest

from api.tests.endpoints.dialects.use_dialect import use_dialect
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, answer_honestly, send_refusal, send_reply, send_stream

STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
HI = {"role": "user", "content": "hi"}


def refuse_parameter(name: str, message: str = ""):
    return send_reply(
        {
            "error": {
                "message": message or f"Unsupported parameter: '{name}'.",
                "type": "invalid_request_error",
                "param": name,
                "code": "unsupported_parameter",
            }
        },
        400,
    )


# --- the request ----------------------------------------------------------------------------------
async def test_an_upstream_gets_the_limit_by_the_name_it_knows(gateway, upstream, alice):
    await use_dialect(gateway, "mistral")
    await gateway.request_chat(alice.key, max_completion_tokens=7)
    body = upstream.requests[0].json
    assert (body["max_tokens"], "max_completion_tokens" in body) == (7, False)


async def test_a_developer_message_reaches_an_unknown_upstream_as_system(gateway, upstream, alice):
    messages = [{"role": "developer", "content": "be brief"}, HI]
    assert (await gateway.request_chat(alice.key, messages=messages)).status == 200
    assert [message["role"] for message in upstream.requests[0].json["messages"]] == [
        "system",
        "user",
    ]


async def test_a_field_that_is_left_out_is_named_in_a_header_and_in_the_record(
    gateway, upstream, alice
):
    await use_dialect(gateway, "", refused_fields=["seed"])
    answer = await gateway.request_chat(alice.key, seed=3)
    assert "seed" not in upstream.requests[0].json
    assert answer.headers["x-proxysite-omitted"] == "seed"
    assert (await rows.read_only_usage_record()).attempts[0]["omitted"] == ["seed"]


async def test_an_answer_to_a_whole_request_names_nothing_as_left_out(gateway, alice):
    answer = await gateway.request_chat(alice.key, seed=3)
    assert "x-proxysite-omitted" not in answer.headers
    assert "omitted" not in (await rows.read_only_usage_record()).attempts[0]


# --- refusals are learnt --------------------------------------------------------------------------
@STREAMS
async def test_a_refused_limit_is_sent_again_under_its_other_name_and_learnt(
    gateway, upstream, alice, streams
):
    upstream.queue_scripts(refuse_parameter("max_tokens"))
    answer = await gateway.request_chat(alice.key, max_tokens=5, stream=streams)
    assert answer.status == 200
    assert (await gateway.request_chat(alice.key, max_tokens=6)).status == 200
    limits = [
        {name: value for name, value in request.json.items() if name.startswith("max_")}
        for request in upstream.requests
    ]
    assert limits == [
        {"max_tokens": 5},
        {"max_completion_tokens": 5},
        {"max_completion_tokens": 6},
    ]
    record = (await rows.read_usage_records())[0]
    assert [attempt["outcome"] for attempt in record.attempts] == ["Rejected", "answered"]
    assert "with max_completion_tokens instead of max_tokens" in record.attempts[0]["reason"]


async def test_a_refused_tuning_field_is_left_out_and_named(gateway, upstream, alice):
    upstream.queue_scripts(refuse_parameter("temperature"))
    answer = await gateway.request_chat(alice.key, temperature=0.3)
    assert (answer.status, answer.headers["x-proxysite-omitted"]) == (200, "temperature")


async def test_several_refused_fields_are_learnt_one_after_another(gateway, upstream, alice):
    upstream.queue_scripts(refuse_parameter("top_p"), refuse_parameter("seed"))
    answer = await gateway.request_chat(alice.key, seed=1, top_p=0.5, user="u")
    assert answer.status == 200
    assert upstream.requests[-1].json.keys() == {"model", "messages", "user"}


async def test_an_upstream_that_goes_on_refusing_is_believed(gateway, upstream, alice):
    upstream.set_default_script(refuse_parameter("seed"))
    answer = await gateway.request_chat(alice.key, seed=1)
    assert (answer.status, answer.error["param"]) == (400, "seed")
    assert len(upstream.requests) == 2


async def test_what_was_asked_for_is_never_left_out(gateway, upstream, alice):
    upstream.set_default_script(refuse_parameter("tools"))
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert (answer.status, answer.error["param"]) == (400, "tools")
    assert len(upstream.requests) == 1


async def test_another_refusal_teaches_nothing(gateway, upstream, alice):
    upstream.set_default_script(send_refusal(400, "The temperature is too high."))
    assert (await gateway.request_chat(alice.key, temperature=2)).status == 400
    assert len(upstream.requests) == 1


# --- thinking goes back ---------------------------------------------------------------------------
def insists_on_thinking(script):
    """Return a script that refuses a request with tools as DeepSeek V4 does."""

    async def check_thinking(exchange):
        body = exchange.request.json
        answers = [one for one in body["messages"] if one["role"] == "assistant"]
        if body.get("tools") and not all(one.get("reasoning_content") for one in answers):
            text = "The `reasoning_content` in the thinking mode must be passed back to the API."
            return await send_refusal(400, text)(exchange)
        return await script(exchange)

    return check_thinking


async def test_a_second_turn_with_tools_is_answered_where_thinking_must_come_back(
    gateway, upstream, alice
):
    await use_dialect(gateway, "deepseek", needs_thinking=True)
    upstream.set_default_script(insists_on_thinking(answer_honestly()))
    messages = [HI, {"role": "assistant", "content": "hello"}, HI]
    assert (await gateway.request_chat(alice.key, messages=messages, tools=TOOLS)).status == 200


async def test_a_remembered_tool_turn_brings_its_thinking_back(gateway, upstream, alice):
    await use_dialect(gateway, "deepseek", needs_thinking=True)
    call = speech.chat_completion("")
    call["choices"][0]["message"] |= {
        "content": None,
        "reasoning_content": "look it up",
        "tool_calls": [CALL],
    }
    call["choices"][0]["finish_reason"] = "tool_calls"
    said = speech.chat_completion("It is 5.")
    said["choices"][0]["message"]["reasoning_content"] = "now I know"
    upstream.set_default_script(insists_on_thinking(answer_honestly()))
    upstream.queue_scripts(send_reply(call), send_reply(said))
    ask = {"conversation_id": "talk", "tools": TOOLS}
    await gateway.request_chat(alice.key, messages=[HI], **ask)
    result = {"role": "tool", "tool_call_id": "call_1", "content": "5"}
    await gateway.request_chat(alice.key, messages=[result], **ask)
    last = await gateway.request_chat(
        alice.key, messages=[{"role": "user", "content": "and now?"}], **ask
    )
    assert last.status == 200
    answers = [one for one in upstream.requests[-1].json["messages"] if one["role"] == "assistant"]
    assert [one["reasoning_content"] for one in answers] == ["look it up", "now I know"]


async def test_thinking_does_not_go_back_to_an_upstream_that_refuses_it(gateway, upstream, alice):
    await use_dialect(gateway, "openai")
    messages = [HI, {"role": "assistant", "content": "hello", "reasoning_content": "hm"}, HI]
    await gateway.request_chat(alice.key, messages=messages)
    assert upstream.requests[0].json["messages"][1] == {"role": "assistant", "content": "hello"}


# --- thinking comes up ----------------------------------------------------------------------------
async def test_thinking_of_a_whole_answer_has_the_name_that_clients_read(gateway, upstream, alice):
    reply = speech.chat_completion("Hi")
    reply["choices"][0]["message"]["reasoning"] = "hm"
    upstream.queue_scripts(send_reply(reply))
    message = (await gateway.request_chat(alice.key)).json["choices"][0]["message"]
    assert (message["reasoning_content"], message["reasoning"]) == ("hm", "hm")


async def test_streamed_thinking_has_the_name_that_clients_read(gateway, upstream, alice):
    deltas = [{"role": "assistant", "reasoning": "h"}, {"reasoning": "m"}, {"content": "Hi"}]
    chunks = [speech.chat_chunk(delta) for delta in deltas]
    upstream.queue_scripts(send_stream(*chunks, speech.chat_chunk(finish="stop"), DONE))
    answer = await gateway.request_chat(alice.key, stream=True)
    thoughts = [
        event["choices"][0]["delta"].get("reasoning_content")
        for event in answer.events
        if event["choices"]
    ]
    assert "".join(filter(None, thoughts)) == "hm"
    assert answer.text == "Hi"


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "text", "text": "Hi"},
]


@STREAMS
async def test_a_list_of_parts_becomes_thinking_and_text(gateway, upstream, alice, streams):
    reply = speech.chat_completion("")
    reply["choices"][0]["message"]["content"] = PARTS
    chunks = [
        speech.chat_chunk({"role": "assistant", "content": PARTS[:1]}),
        speech.chat_chunk({"content": PARTS[1:]}),
        speech.chat_chunk(finish="stop"),
    ]
    upstream.queue_scripts(send_stream(*chunks, DONE) if streams else send_reply(reply))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.text == "Hi"
    if streams:
        thoughts = [event["choices"][0]["delta"] for event in answer.events if event["choices"]]
    else:
        thoughts = [answer.json["choices"][0]["message"]]
    assert "".join(part.get("reasoning_content") or "" for part in thoughts) == "hm"


@STREAMS
async def test_a_call_that_leaks_into_thinking_of_either_name_is_one_call(
    gateway, upstream, alice, streams
):
    leak = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
        '<|tool_call_argument_begin|>{"a":1}<|tool_call_end|><|tool_calls_section_end|>'
    )
    reply = speech.chat_completion("")
    reply["choices"][0]["message"] |= {"content": None, "reasoning": leak}
    chunks = [
        speech.chat_chunk({"role": "assistant", "reasoning": leak[:30]}),
        speech.chat_chunk({"reasoning": leak[30:]}),
        speech.chat_chunk(finish="stop"),
    ]
    upstream.queue_scripts(send_stream(*chunks, DONE) if streams else send_reply(reply))
    answer = await gateway.request_chat(alice.key, stream=streams, tools=TOOLS)
    if streams:
        choices = [event["choices"][0] for event in answer.events if event["choices"]]
        calls = [call for one in choices for call in one["delta"].get("tool_calls") or ()]
        written = "".join(call["function"].get("arguments", "") for call in calls)
        assert (written, {call["index"] for call in calls}) == ('{"a":1}', {0})
        assert choices[-1]["finish_reason"] == "tool_calls"
        shown = str([one["delta"] for one in choices])
    else:
        message = answer.json["choices"][0]["message"]
        assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a":1}']
        shown = str(message)
    assert "<|" not in shown
