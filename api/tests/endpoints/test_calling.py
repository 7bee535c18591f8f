"""Tool calling with a model that has none: the caller sees OpenAI's tool calls, the upstream only
words.
"""

import asyncio
import json

import httpx
import openai
import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import NO_TLS
from proxysite.testing.upstream import DONE, Gate, send_refusal, send_reply, send_stream

LONG = "Tells the weather of a city. " + "It rains or it does not. " * 100 + "The last word."
CITY = {"type": "string", "description": "A city " * 200 + "of Austria"}
SCHEMA = {"type": "object", "properties": {"city": CITY}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": LONG, "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Tells the time."}}
TOOLS = [WEATHER, CLOCK]
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}}</tool_call>'
NAMED = {"type": "function", "function": {"name": "weather"}}
ASK = [{"role": "user", "content": "How is the weather?"}]
BOTH = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def provider(upstream, transactional_db):
    """An upstream without tool calling."""
    return await run_in_thread(lambda: rows.create_provider(upstream.url, native_tools=False))


@pytest.fixture
async def client(gateway, alice):
    """OpenAI's own client."""
    http = httpx.AsyncClient(trust_env=False, verify=NO_TLS)
    async with openai.AsyncOpenAI(
        api_key=alice.key, base_url=f"{gateway.url}/v1", http_client=http, max_retries=0
    ) as one:
        yield one


def saying(text, streams, reasoning=None, usage=None, size=7):
    """The script of an upstream that says `text`: whole, or in pieces of `size` characters."""
    thought = {"reasoning_content": reasoning} if reasoning else {}
    if not streams:
        return send_reply(
            speech.chat_completion(text, message=thought, usage=usage or speech.token_usage())
        )
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    thoughts = [speech.chat_chunk({"role": "assistant"} | thought)]
    end = [speech.chat_chunk(finish="stop"), speech.usage_chunk(usage)]
    return send_stream(
        *thoughts, *(speech.chat_chunk({"content": piece}) for piece in pieces), *end, DONE
    )


async def ask(client, streams, messages=ASK, **more):
    """The choice that the official client makes of the answer."""
    asked = {"model": "m", "messages": messages, "tools": TOOLS} | more
    if not streams:
        return (await client.chat.completions.create(**asked)).choices[0]
    async with client.chat.completions.stream(**asked) as answer:
        async for _ in answer:
            pass
        return (await answer.get_final_completion()).choices[0]


@BOTH
async def test_a_call_in_words_is_a_tool_call_for_the_official_client(client, upstream, streams):
    upstream.queue_scripts(saying(f"Let me see.\n{CALL}\n", streams))
    choice = await ask(client, streams)
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function",
        "weather",
        {"city": "Graz"},
    )
    assert call.id.startswith("call_")
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see.\n"


@BOTH
async def test_an_answer_that_is_only_calls_has_no_content(client, upstream, streams):
    upstream.queue_scripts(saying(f"{CALL}\n{CALL.replace('Graz', 'Wien')}", streams))
    choice = await ask(client, streams)
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls] == [
        "Graz",
        "Wien",
    ]
    assert len({call.id for call in choice.message.tool_calls}) == 2
    assert choice.message.content is None


@BOTH
async def test_prose_about_tools_stays_prose(client, upstream, streams):
    text = (
        f'You could call `{CALL}` or send {{"name": "weather", "arguments": {{}}}} yourself. '
        f'{{"a": [1]}}'
    )
    upstream.queue_scripts(saying(text, streams, size=3))
    choice = await ask(client, streams)
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        text,
        None,
        "stop",
    )


@BOTH
async def test_a_call_in_the_thinking_is_none(gateway, upstream, alice, streams):
    upstream.queue_scripts(saying("No need.", streams, reasoning=f"I could say {CALL}"))
    answer = await gateway.request_chat(alice.key, tools=TOOLS, stream=streams)
    assert answer.text == "No need."
    assert b"tool_calls" not in answer.body
    assert b"I could say" in answer.body


@BOTH
async def test_a_thinking_model_thinks_and_calls(gateway, upstream, alice, provider, streams):
    await run_in_thread(lambda: rows.create_model(provider, "thinker", thinking_format="tagged"))
    await gateway.reload_rows()
    thought = CALL.replace("Graz", "Wien")
    upstream.queue_scripts(saying(f"<think>First {thought}\n</think>\n\n{CALL}", streams))
    answer = await gateway.request_chat(alice.key, model="thinker", tools=TOOLS, stream=streams)
    said = [event["choices"][0] for event in answer.events] if streams else answer.json["choices"]
    calls = [
        call for one in said for call in one.get("delta", one.get("message")).get("tool_calls", ())
    ]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": "Graz"}]
    assert said[-1]["finish_reason"] == "tool_calls"


async def test_the_upstream_is_told_everything_in_words_and_nothing_else(client, upstream):
    await ask(client, False, parallel_tool_calls=True, tool_choice="auto")
    asked = upstream.last_exchange.request.json
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & asked.keys()
    system, user = asked["messages"]
    assert system["role"] == "system"
    assert LONG in system["content"]
    assert json.dumps(SCHEMA, separators=(",", ":")) in system["content"]
    assert "## clock" in system["content"]
    assert user == ASK[0]


async def test_the_history_reaches_the_upstream_with_names_and_ids(client, upstream):
    upstream.queue_scripts(saying(CALL, False))
    first = await ask(client, False)
    call_id = first.message.tool_calls[0].id
    result = {"role": "tool", "tool_call_id": call_id, "content": "Rain, 7 °C"}
    upstream.queue_scripts(saying("It rains.", False))
    choice = await ask(client, False, messages=[*ASK, first.message, result])
    assert choice.message.content == "It rains."
    _, _, assistant, told = upstream.last_exchange.request.json["messages"]
    assert assistant["role"] == "assistant"
    assert (
        f'{{"name": "weather", "arguments": {{"city":"Graz"}}, "id": "{call_id}"}}'
        in assistant["content"]
    )
    assert "tool_calls" not in assistant
    assert told == {
        "role": "user",
        "content": f'<tool_result name="weather" id="{call_id}">\nRain, 7 °C\n</tool_result>',
    }


@BOTH
async def test_with_the_choice_none_nothing_is_told_and_nothing_is_read(client, upstream, streams):
    upstream.queue_scripts(saying(CALL, streams))
    choice = await ask(client, streams, tool_choice="none")
    assert (choice.message.content, choice.finish_reason) == (CALL, "stop")
    assert upstream.last_exchange.request.json["messages"] == ASK


@BOTH
@pytest.mark.parametrize("wish", ["required", NAMED], ids=["required", "named"])
async def test_a_demand_that_is_met_is_one_question(client, upstream, streams, wish):
    upstream.queue_scripts(saying(CALL, streams))
    choice = await ask(client, streams, tool_choice=wish)
    assert choice.message.tool_calls[0].function.name == "weather"
    assert choice.finish_reason == "tool_calls"
    assert "You must call" in upstream.last_exchange.request.json["messages"][0]["content"]
    assert len(upstream.requests) == 1
    assert len((await rows.read_only_usage_record()).attempts) == 1


@BOTH
@pytest.mark.parametrize("wish", ["required", NAMED], ids=["required", "named"])
async def test_a_demand_that_is_not_met_is_asked_once_more(client, upstream, streams, wish):
    upstream.queue_scripts(
        saying("It rains, I guess.", streams, usage=speech.token_usage(100, 10)),
        saying(CALL, streams, usage=speech.token_usage(130, 7)),
    )
    choice = await ask(client, streams, tool_choice=wish)
    assert choice.message.tool_calls[0].function.name == "weather"
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    first, second = (asked.json for asked in upstream.requests)
    *same, said, correction = second["messages"]
    assert same == first["messages"]
    assert said == {"role": "assistant", "content": "It rains, I guess."}
    assert correction["role"] == "user"
    assert "must be called now" in correction["content"]
    assert {**first, "messages": 0} == {**second, "messages": 0}
    row = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in row.attempts] == ["answered", "answered"]
    assert (row.prompt_tokens, row.completion_tokens, row.status, row.estimated) == (
        230,
        17,
        "complete",
        False,
    )


@BOTH
async def test_a_demand_that_is_never_met_ends_with_the_honest_text(client, upstream, streams):
    upstream.queue_scripts(saying("No.", streams), saying("I will not.", streams))
    choice = await ask(client, streams, tool_choice="required")
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        "I will not.",
        None,
        "stop",
    )
    assert len(upstream.requests) == 2


async def test_a_call_of_another_tool_than_the_named_one_is_none(client, upstream):
    upstream.queue_scripts(
        saying('<tool_call>{"name": "clock", "arguments": {}}</tool_call>', False),
        saying(CALL, False),
    )
    choice = await ask(client, False, tool_choice=NAMED)
    assert [call.function.name for call in choice.message.tool_calls] == ["weather"]


async def test_a_stream_that_is_asked_for_again_is_one_answer_and_keeps_its_thinking(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        saying("No.", True, reasoning="Why?"), saying(CALL, True, reasoning="Well.")
    )
    include = {"include_usage": True}
    answer = await gateway.request_chat(
        alice.key, tools=TOOLS, tool_choice="required", stream=True, stream_options=include
    )
    deltas = [event["choices"][0]["delta"] for event in answer.events if event["choices"]]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    assert [delta["reasoning_content"] for delta in deltas if delta.get("reasoning_content")] == [
        "Why?",
        "Well.",
    ]
    assert answer.text == ""
    assert answer.finish_reasons == ["tool_calls"]
    assert len({event["id"] for event in answer.events}) == 1
    assert answer.events[-1]["usage"]["total_tokens"] == 24
    assert answer.is_complete


async def test_a_whole_answer_that_is_asked_for_again_keeps_its_thinking(gateway, upstream, alice):
    upstream.queue_scripts(
        saying("No.", False, reasoning="Why? "), saying(CALL, False, reasoning="Well.")
    )
    answer = await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required")
    assert answer.json["choices"][0]["message"]["reasoning_content"] == "Why? Well."
    assert answer.json["usage"]["total_tokens"] == 24


@BOTH
async def test_thinking_in_the_text_stays_and_is_not_told_to_the_model(
    gateway, upstream, alice, provider, streams
):
    await run_in_thread(
        lambda: rows.create_model(provider, "thinker", thinking_format="tagged", thinking="inline")
    )
    await gateway.reload_rows()
    upstream.queue_scripts(
        saying("<think>Why?</think>No.", streams), saying(f"<think>Well.</think>{CALL}", streams)
    )
    answer = await gateway.request_chat(
        alice.key, model="thinker", tools=TOOLS, tool_choice="required", stream=streams
    )
    assert "".join(answer.text.split()) == "<think>Why?</think><think>Well.</think>"
    assert b"tool_calls" in answer.body
    assert upstream.last_exchange.request.json["messages"][-2]["content"].strip() == "No."


@BOTH
async def test_an_answer_that_says_nothing_is_asked_for_again(client, upstream, streams):
    upstream.queue_scripts(saying("", streams), saying(CALL, streams))
    choice = await ask(client, streams, tool_choice="required")
    assert choice.finish_reason == "tool_calls"
    assert [message["role"] for message in upstream.last_exchange.request.json["messages"]] == [
        "system",
        "user",
        "user",
    ]


async def test_json_for_a_stream_is_asked_for_again_too(gateway, upstream, alice):
    upstream.queue_scripts(saying("No.", False, reasoning="Why?"), saying(CALL, False))
    answer = await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required", stream=True)
    assert (answer.text, answer.finish_reasons, answer.is_complete) == ("", ["tool_calls"], True)
    assert b"Why?" in answer.body


@BOTH
async def test_when_the_second_question_fails_the_first_answer_is_given(client, upstream, streams):
    upstream.queue_scripts(saying("It rains, I guess.", streams), send_refusal(400, "Too long."))
    choice = await ask(client, streams, tool_choice="required")
    assert (choice.message.content, choice.finish_reason) == ("It rains, I guess.", "stop")
    row = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in row.attempts] == ["answered", "Rejected"]
    assert (row.status, row.prompt_tokens) == ("complete", 9)


async def test_usage_that_one_of_two_answers_does_not_give_is_counted(gateway, upstream, alice):
    words = "The quick brown fox jumps over the lazy dog."
    upstream.queue_scripts(
        send_reply(speech.chat_completion(words, usage=None)), saying("one two three", False)
    )
    await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required")
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert 12 <= row.completion_tokens <= 13  # 10 and 3, less what joining them saves


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_where_calling_in_words_is_switched_off_tools_are_refused(gateway, upstream, alice):
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert answer.status == 400
    assert answer.error["param"] == "tools"
    assert not upstream.requests


async def test_a_caller_who_leaves_during_the_second_question_pays_for_both(
    gateway, upstream, alice, provider
):
    gate = Gate()
    upstream.queue_scripts(
        send_reply(speech.chat_completion("No.", usage=speech.token_usage(50, 200))),
        send_stream(gate),
    )
    body = {"tools": TOOLS, "tool_choice": "required"}
    asking = asyncio.create_task(gateway.request_chat(alice.key, **body))
    await upstream.wait_for_request(2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await wait_until_true(rows.read_usage_records)
    row = await rows.read_only_usage_record()
    assert (row.status, row.completion_tokens, row.estimated) == ("abandoned", 200, True)
    assert row.prompt_tokens > 50


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_without_tool_support_functions_are_refused_like_tools(
    gateway, upstream, alice, provider
):
    await gateway.reload_rows()
    for fields in ({"tools": [CLOCK]}, {"functions": [CLOCK["function"]]}):
        assert (await gateway.request_chat(alice.key, **fields)).error["param"] == "tools"
    assert upstream.requests == []


async def test_an_answer_that_does_not_say_what_it_is_passes_the_filters(
    gateway, upstream, alice, provider
):
    nameless = speech.chat_completion(CALL)
    del nameless["object"]
    upstream.queue_scripts(send_reply(nameless))
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert answer.json["choices"][0]["finish_reason"] == "tool_calls"


async def test_what_an_upstream_says_beside_its_answer_goes_through_filters(
    gateway, upstream, alice, provider
):
    more = speech.chat_completion("Hi.")
    more["choices"][0]["native_finish_reason"] = "eos"
    upstream.queue_scripts(send_reply(more))
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert answer.json["choices"][0]["native_finish_reason"] == "eos"
