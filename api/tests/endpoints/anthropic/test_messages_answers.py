"""Chat completions of a model behind Anthropic's Messages API: what callers get."""

import json

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.filters.answer_folder import fold_answer
from proxysite.testing import rows
from proxysite.testing.anthropic_speech import (
    answer_message,
    count_usage,
    redacted_block,
    text_block,
    thinking_block,
    tool_block,
    web_citation,
)

USAGE = count_usage(
    5,
    7,
    cache_read_input_tokens=100,
    cache_creation_input_tokens=20,
    output_tokens_details={"thinking_tokens": 4},
)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "Hi"}


async def request_message(gateway, person, streams, **body):
    """Return the message and the finish reason of an answer, whole or folded from its chunks."""
    answer = await gateway.request_chat(person.key, stream=streams, **body)
    assert answer.status == 200, answer.body
    completion = fold_answer(answer.events) if streams else answer.json
    choice = completion["choices"][0]
    return choice["message"], choice["finish_reason"]


async def test_a_streamed_answer_comes_as_chunks_with_usage(gateway, alice, upstream):
    upstream.queue_scripts(answer_message(text_block("Hello, dear world."), usage=USAGE))
    answer = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": True}
    )
    assert (answer.text, answer.finish_reasons) == ("Hello, dear world.", ["stop"])
    assert answer.is_complete
    assert "native" not in answer.body.decode()
    usage = answer.events[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (125, 7)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 20}
    request = upstream.last_exchange.request
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-up-1"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request.headers
    assert request.json["model"] == "claude-opus-4-8"
    assert request.json["max_tokens"] == 128_000


@WHOLE_AND_STREAMED
async def test_the_record_has_the_tokens_of_the_cache_and_of_thinking(
    gateway, alice, upstream, streams
):
    upstream.queue_scripts(answer_message(text_block("Yes."), usage=USAGE))
    await gateway.request_chat(alice.key, stream=streams)
    record = await rows.read_only_usage_record()
    assert (record.prompt_tokens, record.completion_tokens) == (125, 7)
    assert (record.cached_tokens, record.cache_write_tokens, record.reasoning_tokens) == (
        100,
        20,
        4,
    )
    assert not record.estimated


@WHOLE_AND_STREAMED
async def test_calls_come_with_their_ids_and_arguments(gateway, alice, upstream, streams):
    blocks = [
        text_block("Let me see."),
        tool_block("weather", "toolu_1", city="Paris", days=3),
        tool_block("weather", "toolu_2"),
    ]
    upstream.queue_scripts(answer_message(*blocks, stop="tool_use"))
    message, reason = await request_message(gateway, alice, streams, tools=[TOOL])
    assert reason == "tool_calls"
    assert message["content"] == "Let me see."
    assert [call["id"] for call in message["tool_calls"]] == ["toolu_1", "toolu_2"]
    arguments = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]
    assert arguments == [{"city": "Paris", "days": 3}, {}]


@WHOLE_AND_STREAMED
async def test_thinking_comes_with_its_signatures_and_goes_back_as_it_came(
    gateway, alice, upstream, streams
):
    blocks = [
        thinking_block("First the city.", "sig+/1=="),
        redacted_block("opaque+/=="),
        thinking_block("", "sig-of-nothing"),
        tool_block("weather", "toolu_1", city="Paris"),
    ]
    upstream.queue_scripts(answer_message(*blocks, stop="tool_use"))
    message, _ = await request_message(gateway, alice, streams, tools=[TOOL])
    assert message["reasoning_content"] == "First the city."
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"}
    await gateway.request_chat(alice.key, messages=[USER, message, result], tools=[TOOL])
    sent = upstream.last_exchange.request.json["messages"]
    assert sent[1] == {"role": "assistant", "content": blocks}
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}
    ]


@WHOLE_AND_STREAMED
async def test_hidden_thinking_does_not_come(gateway, alice, upstream, streams):
    upstream.queue_scripts(answer_message(thinking_block("Hm."), text_block("Yes.")))
    message, _ = await request_message(gateway, alice, streams, model="m-hidden")
    assert message["content"] == "Yes."
    assert not {"reasoning_content", "reasoning_details"} & message.keys()
    assert "thinking" not in upstream.last_exchange.request.json


@WHOLE_AND_STREAMED
async def test_a_refusal_is_one_in_openais_form(gateway, alice, upstream, streams):
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    upstream.queue_scripts(answer_message(text_block("I"), stop="refusal", stop_details=details))
    message, reason = await request_message(gateway, alice, streams)
    assert (message["refusal"], reason) == ("Not this.", "content_filter")


@WHOLE_AND_STREAMED
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
async def test_stop_reasons_become_finish_reasons(gateway, alice, upstream, stop, reason, streams):
    upstream.queue_scripts(answer_message(text_block("Once"), stop=stop))
    assert (await request_message(gateway, alice, streams))[1] == reason


@WHOLE_AND_STREAMED
async def test_a_web_search_at_anthropic_leaves_citations(gateway, alice, upstream, streams):
    search = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"q": 1},
    }
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    blocks = [
        search,
        found,
        text_block("It is "),
        text_block("sunny", web_citation("https://w.example/", "Weather")),
        text_block("."),
    ]
    upstream.queue_scripts(answer_message(*blocks))
    message, reason = await request_message(gateway, alice, streams, web_search_options={})
    assert (message["content"], reason) == ("It is sunny.", "stop")
    citation = {"start_index": 6, "end_index": 11, "url": "https://w.example/", "title": "Weather"}
    assert message["annotations"] == [{"type": "url_citation", "url_citation": citation}]
    assert "tool_calls" not in message
    tools = upstream.last_exchange.request.json["tools"]
    assert tools == [{"type": "web_search_20250305", "name": "web_search"}]
