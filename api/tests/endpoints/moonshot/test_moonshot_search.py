"""Moonshot's web search is answered here, and the caller sees one answer."""

from api.tests.endpoints.moonshot.moonshot_answers import last_chunk, read_answer, request_chat
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, DONE, Gate, send_refusal, send_reply, send_stream

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ARGUMENTS = '{"search_result":{"search_id":"s-1"},"usage":{"total_tokens":77}}'


def make_call(name, arguments, index=0, call_id="call_1", kind="function"):
    return {
        "index": index,
        "id": call_id,
        "type": kind,
        "function": {"name": name, "arguments": arguments},
    }


def make_search_call(index=0, call_id="call_s"):
    return make_call("$web_search", ARGUMENTS, index, call_id, "builtin_function")


def send_search(content="", **more):
    """An answer that only calls the search."""
    begun = speech.chat_chunk({"role": "assistant", "content": content})
    return send_stream(
        begun,
        speech.chat_chunk({"tool_calls": [make_search_call(**more)]}),
        last_chunk("tool_calls"),
        DONE,
    )


@WHOLE_AND_STREAMED
async def test_the_search_is_answered_here_and_the_caller_sees_one_answer(
    gateway, upstream, alice, streams
):
    upstream.queue_scripts(
        send_search("Let me look. "),
        send_search("", call_id="call_t"),
        send_stream(*speech.content_chunks("It", " rains."), last_chunk(), DONE),
    )
    answer = await request_chat(gateway, alice.key, streams, model="m-search")
    assert read_answer(answer) == ("Let me look. It rains.", [], "stop", 45)
    assert b"web_search" not in answer.body
    first, second, third = (request.json for request in upstream.requests)
    for sent in (first, second, third):
        assert sent["tools"] == [{"type": "builtin_function", "function": {"name": "$web_search"}}]
        assert sent["thinking"] == {"type": "disabled"}
    mine = {
        "id": "call_s",
        "type": "builtin_function",
        "function": {"name": "$web_search", "arguments": ARGUMENTS},
    }
    assert second["messages"][-2:] == [
        {"role": "assistant", "content": "Let me look. ", "tool_calls": [mine]},
        {"role": "tool", "tool_call_id": "call_s", "name": "$web_search", "content": ARGUMENTS},
    ]
    assert third["messages"][:-2] == second["messages"]
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (30, 15, False)


@WHOLE_AND_STREAMED
async def test_arguments_that_come_in_pieces_go_back_whole(gateway, upstream, alice, streams):
    pieces = [
        make_search_call() | {"function": {"name": "$web_search", "arguments": ARGUMENTS[:9]}}
    ]
    rest = [{"index": 0, "function": {"arguments": ARGUMENTS[9:]}}]
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": pieces}),
            speech.chat_chunk({"tool_calls": rest}),
            last_chunk("tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Yes."), last_chunk(), DONE),
    )
    assert read_answer(await request_chat(gateway, alice.key, streams, model="m-search")) == (
        "Yes.",
        [],
        "stop",
        30,
    )
    assert upstream.requests[1].json["messages"][-1]["content"] == ARGUMENTS


@WHOLE_AND_STREAMED
async def test_a_call_of_the_callers_own_function_ends_the_turn(gateway, upstream, alice, streams):
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": [make_search_call(), make_call("weather", "{}", 1)]}),
            last_chunk("tool_calls"),
            DONE,
        )
    )
    answer = await request_chat(gateway, alice.key, streams, model="m-search", tools=[WEATHER])
    text, *rest = read_answer(answer)
    assert rest == [[("weather", "{}")], "tool_calls", 15]
    assert text == ("" if streams else "None")
    assert len(upstream.requests) == 1
    assert upstream.requests[0].json["tools"][0] == WEATHER


async def test_a_caller_who_brings_the_search_along_answers_it_himself(gateway, upstream, alice):
    own = {"type": "builtin_function", "function": {"name": "$web_search"}}
    message = {"tool_calls": [make_search_call()]}
    upstream.queue_scripts(
        send_reply(speech.chat_completion(None, finish="tool_calls", message=message))
    )
    answer = await gateway.request_chat(alice.key, model="m-search", tools=[own])
    assert (
        answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    )
    assert upstream.requests[0].json["tools"] == [own]
    assert len(upstream.requests) == 1


@WHOLE_AND_STREAMED
async def test_after_five_searches_the_model_has_to_speak(gateway, upstream, alice, streams):
    upstream.queue_scripts(
        *[send_search()] * 5, send_stream(*speech.content_chunks("Enough."), last_chunk(), DONE)
    )
    assert (
        read_answer(await request_chat(gateway, alice.key, streams, model="m-search"))[0]
        == "Enough."
    )
    choices = [request.json.get("tool_choice") for request in upstream.requests]
    assert choices == [None] * 5 + ["none"]


async def test_a_model_that_never_stops_searching_is_given_up(gateway, upstream, alice):
    upstream.set_default_script(send_search())
    answer = await gateway.request_chat(alice.key, model="m-search")
    assert answer.status == 502
    assert len(upstream.requests) % 6 == 0


async def test_an_error_while_searching_is_answered_by_another_token(
    gateway, upstream, alice, provider
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    limited = send_refusal(429, "Slow down.", kind="rate_limit_reached_error")
    upstream.queue_scripts(
        send_search(),
        limited,
        send_search(),
        send_stream(*speech.content_chunks("Done."), last_chunk(), DONE),
    )
    answer = await request_chat(gateway, alice.key, True, model="m-search")
    assert read_answer(answer)[0] == "Done."
    bearers = [request.bearer_token for request in upstream.requests]
    assert bearers[0] == bearers[1] != bearers[2] == bearers[3]


async def test_words_reach_the_caller_while_the_model_still_searches(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Looking"),
            gate,
            speech.chat_chunk({"tool_calls": [make_search_call()]}),
            last_chunk("tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Found"), last_chunk(), DONE),
    )
    async with gateway.open_stream(alice.key, model="m-search") as reading:
        await reading.read_until("Looking")
        gate.open()
        assert (await reading.read_rest()).text == "LookingFound"


async def test_a_search_that_breaks_off_ends_the_stream_with_an_error(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Looking"), CUT))
    async with gateway.open_stream(alice.key, model="m-search") as reading:
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "upstream_disconnected"


async def test_usage_is_an_estimate_when_one_of_the_searches_gave_none(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": [make_search_call()]}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Yes."), last_chunk(), DONE),
    )
    await gateway.request_chat(alice.key, model="m-search")
    assert (await rows.read_only_usage_record()).estimated


async def test_several_choices_cannot_search(gateway, upstream, alice):
    answer = await gateway.request_chat(alice.key, model="m-search", n=2)
    assert (answer.status, answer.error["param"]) == (400, "n")
    assert upstream.requests == []
