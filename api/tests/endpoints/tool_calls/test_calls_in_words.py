"""Tool calling with a model that has none: the caller sees OpenAI's tool calls, the upstream only
words.
"""

import json

from api.tests.endpoints.tool_calls.calls_in_words import (
    CALL,
    LONG,
    QUESTION,
    SCHEMA,
    TOOLS,
    ask_client,
    send_text,
)
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_reply


@WHOLE_AND_STREAMED
async def test_a_call_in_words_is_a_tool_call_for_the_official_client(client, upstream, streams):
    upstream.queue_scripts(send_text(f"Let me see.\n{CALL}\n", streams))
    choice = await ask_client(client, streams)
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function",
        "weather",
        {"city": "Graz"},
    )
    assert call.id.startswith("call_")
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see.\n"


@WHOLE_AND_STREAMED
async def test_an_answer_that_is_only_calls_has_no_content(client, upstream, streams):
    upstream.queue_scripts(send_text(f"{CALL}\n{CALL.replace('Graz', 'Wien')}", streams))
    choice = await ask_client(client, streams)
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls] == [
        "Graz",
        "Wien",
    ]
    assert len({call.id for call in choice.message.tool_calls}) == 2
    assert choice.message.content is None


@WHOLE_AND_STREAMED
async def test_prose_about_tools_stays_prose(client, upstream, streams):
    text = (
        f'You could call `{CALL}` or send {{"name": "weather", "arguments": {{}}}} yourself. '
        f'{{"a": [1]}}'
    )
    upstream.queue_scripts(send_text(text, streams, size=3))
    choice = await ask_client(client, streams)
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        text,
        None,
        "stop",
    )


@WHOLE_AND_STREAMED
async def test_a_call_in_the_thinking_is_none(gateway, upstream, alice, streams):
    upstream.queue_scripts(send_text("No need.", streams, reasoning=f"I could say {CALL}"))
    answer = await gateway.request_chat(alice.key, tools=TOOLS, stream=streams)
    assert answer.text == "No need."
    assert b"tool_calls" not in answer.body
    assert b"I could say" in answer.body


@WHOLE_AND_STREAMED
async def test_a_thinking_model_thinks_and_calls(gateway, upstream, alice, provider, streams):
    await run_in_thread(lambda: rows.create_model(provider, "thinker", thinking_format="tagged"))
    await gateway.reload_rows()
    thought = CALL.replace("Graz", "Wien")
    upstream.queue_scripts(send_text(f"<think>First {thought}\n</think>\n\n{CALL}", streams))
    answer = await gateway.request_chat(alice.key, model="thinker", tools=TOOLS, stream=streams)
    said = [event["choices"][0] for event in answer.events] if streams else answer.json["choices"]
    calls = [
        call for one in said for call in one.get("delta", one.get("message")).get("tool_calls", ())
    ]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": "Graz"}]
    assert said[-1]["finish_reason"] == "tool_calls"


async def test_the_upstream_is_told_everything_in_words_and_nothing_else(client, upstream):
    await ask_client(client, False, parallel_tool_calls=True, tool_choice="auto")
    asked = upstream.last_exchange.request.json
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & asked.keys()
    system, user = asked["messages"]
    assert system["role"] == "system"
    assert LONG in system["content"]
    assert json.dumps(SCHEMA, separators=(",", ":")) in system["content"]
    assert "## clock" in system["content"]
    assert user == QUESTION[0]


async def test_the_history_reaches_the_upstream_with_names_and_ids(client, upstream):
    upstream.queue_scripts(send_text(CALL, False))
    first = await ask_client(client, False)
    call_id = first.message.tool_calls[0].id
    result = {"role": "tool", "tool_call_id": call_id, "content": "Rain, 7 °C"}
    upstream.queue_scripts(send_text("It rains.", False))
    choice = await ask_client(client, False, messages=[*QUESTION, first.message, result])
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


@WHOLE_AND_STREAMED
async def test_with_the_choice_none_nothing_is_told_and_nothing_is_read(client, upstream, streams):
    upstream.queue_scripts(send_text(CALL, streams))
    choice = await ask_client(client, streams, tool_choice="none")
    assert (choice.message.content, choice.finish_reason) == (CALL, "stop")
    assert upstream.last_exchange.request.json["messages"] == QUESTION


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
