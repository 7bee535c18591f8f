"""Nothing is lost between a chat body, a Messages body, and back; nor between stream and whole.

The readers here know the two public forms and nothing of the adapter.
"""

import json

import pytest

from providers.adapters.anthropic.chat_messages import SYSTEM_MARK
from providers.adapters.anthropic.message_events import MessageEvents
from providers.adapters.anthropic.whole_message import convert_message
from providers.filters.answer_folder import fold_answer
from providers.tests.adapters.anthropic.conversations import ConversationMaker
from providers.tests.adapters.anthropic.message_calls import USER, build_body, make_request
from providers.upstream.stream_reader import DialectReader
from providers.wire.sse import EventSplitter
from proxysite.testing.anthropic_speech import encode_event, make_message, stream_message

CONVERSATIONS = 1_000
ANSWERS = 300
MODELS = ("claude-opus-4-8", "claude-sonnet-4-5", "claude-fable-5-2")


def list_chat_content(messages):
    """Return all that a chat body says, in order: (who, kind, value)."""
    content = []
    for message in messages:
        role = {"developer": "system", "tool": "user"}.get(message["role"], message["role"])
        if message["role"] == "tool":
            content.append((role, "result", (message["tool_call_id"], message["content"])))
            continue
        for detail in message.get("reasoning_details") or ():
            content.append((role, "thinking", (detail.get("text"), detail.get("signature"))))
            content[-1] += (detail.get("data"),)
        parts = message["content"] or ""
        if isinstance(parts, str):
            parts = [{"type": "text", "text": parts}] if parts else []
        for part in parts:
            value = part["text"] if part["type"] == "text" else part["image_url"]["url"]
            content.append((role, part["type"], value))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            call_values = (call["id"], function["name"], json.loads(function["arguments"]))
            content.append((role, "call", call_values))
    return content


def list_messages_content(body):
    """Return the same of a Messages body."""
    content = [("system", "text", block["text"]) for block in body.get("system") or ()]
    for message in body["messages"]:
        content += [read_block(message["role"], block) for block in message["content"]]
    return content


def read_block(role, block):
    kind = block["type"]
    if kind == "text" and block["text"].startswith(SYSTEM_MARK):
        return "system", "text", block["text"].removeprefix(SYSTEM_MARK)
    if kind == "text":
        return role, "text", block["text"]
    if kind == "image":
        source = block["source"]
        if source["type"] == "url":
            return role, "image_url", source["url"]
        return role, "image_url", f"data:{source['media_type']};base64,{source['data']}"
    if kind == "tool_use":
        return role, "call", (block["id"], block["name"], block["input"])
    if kind == "tool_result":
        return role, "result", (block["tool_use_id"], block["content"])
    thinking = (block.get("thinking"), block.get("signature"))
    return role, "thinking", thinking, block.get("data")


def require_valid(messages):
    """Assert the rules of the Messages API about the order of messages and blocks."""
    assert messages[0]["role"] == "user"
    for before, after in zip([{"role": ""}, *messages], messages, strict=False):
        assert before["role"] != after["role"]
        assert after["content"]
        if after["role"] == "system":
            assert before["role"] == "user"
        if before["role"] == "system":
            assert after["role"] == "assistant"
        calls = [block["id"] for block in before.get("content", ()) if block["type"] == "tool_use"]
        answered = [
            block["tool_use_id"] for block in after["content"] if block["type"] == "tool_result"
        ]
        assert calls == answered
        kinds = [block["type"] for block in after["content"]]
        assert kinds[: len(answered)] == ["tool_result"] * len(answered)


@pytest.mark.parametrize("model", MODELS)
def test_a_thousand_conversations_lose_nothing_on_their_way(model):
    maker = ConversationMaker(13)
    for _ in range(CONVERSATIONS):
        messages = maker.make_conversation()
        given = json.loads(json.dumps(messages))
        body = build_body(*messages, model=model)
        require_valid(body["messages"])
        assert list_messages_content(body) == list_chat_content(given)
        assert messages == given


def read_stream(events, maker):
    """Return the completion that the adapter's reader makes of a stream in random pieces."""
    data = b"".join(map(encode_event, events))
    reader = DialectReader(
        MessageEvents(make_request(), lambda event: None, is_native=False), EventSplitter(2**20)
    )
    chunks = [chunk for piece in maker.cut(data) for chunk in reader.feed(piece)]
    reader.require_finish()
    assert reader.has_done_marker
    return fold_answer(chunks)


def test_a_streamed_answer_is_the_whole_one_and_goes_back_as_it_came():
    maker = ConversationMaker(29)
    for _ in range(ANSWERS):
        blocks = maker.make_message() or [{"type": "text", "text": "…"}]
        has_calls = blocks[-1]["type"] == "tool_use"
        stop = "tool_use" if has_calls else "end_turn"
        usage = maker.make_usage()
        answer = make_message(*blocks, stop=stop, usage=usage)
        whole = convert_message(make_request(), answer)
        streamed = read_stream(stream_message(answer), maker)
        for completion in (whole, streamed):
            message = completion["choices"][0]["message"]
            parts = message.get("content"), message.get("tool_calls"), message["refusal"]
            assert any(parts) or message.get("reasoning_details")
            sent = build_body(USER, message, USER)["messages"][1:2]
            expected = [{"role": "assistant", "content": blocks}]
            assert sent == expected, completion
            counted = completion["usage"]
            cached = usage["cache_read_input_tokens"]
            written = usage.get("cache_creation_input_tokens", 0)
            assert counted["prompt_tokens"] == usage["input_tokens"] + cached + written
            assert counted["completion_tokens"] == usage["output_tokens"]
            assert counted["prompt_tokens_details"]["cached_tokens"] == cached
        assert read_parts(streamed) == read_parts(whole)


def read_parts(completion):
    """Return what a completion says, without the fields that tell streams from whole answers."""
    choice = completion["choices"][0]
    message = dict(choice["message"])
    message["content"] = message.get("content") or None
    for call in message.get("tool_calls") or ():
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    for detail in message.get("reasoning_details") or ():
        if detail["type"] == "reasoning.text":
            detail.setdefault("text", "")
    return message, choice["finish_reason"], completion["usage"]
