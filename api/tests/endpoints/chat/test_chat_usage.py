"""Usage of chat completions, and the rows that the ledger keeps of them."""

import asyncio

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_reply, send_stream


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
@pytest.mark.parametrize(
    "cache",
    [
        {"prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 32}},
        {"cache_read_input_tokens": 64, "cache_creation_input_tokens": 32},
    ],
    ids=["OpenRouter", "Anthropic"],
)
async def test_tokens_read_from_a_cache_and_written_to_it_are_kept(
    gateway, upstream, alice, cache, streams
):
    counts = speech.token_usage(100, 20, **cache)
    script = send_reply(speech.chat_completion(usage=counts))
    if streams:
        chunks = [*speech.content_chunks("Hi"), speech.chat_chunk(finish="stop")]
        script = send_stream(*chunks, speech.usage_chunk(counts), DONE)
    upstream.queue_scripts(script)
    await gateway.request_chat(alice.key, stream=streams)
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.cached_tokens, row.cache_write_tokens) == (100, 64, 32)


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


@WHOLE_AND_STREAMED
@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": 9, "completion_tokens": 3},
        {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": None},
        speech.token_usage(prompt_tokens_details=None),
        speech.token_usage(completion_tokens_details={"reasoning_tokens": 0, "audio_tokens": None}),
    ],
)
async def test_usage_has_all_the_counts_that_openai_has(gateway, upstream, alice, streams, counts):
    chunks = [*speech.content_chunks("Hi"), speech.chat_chunk(finish="stop")]
    upstream.queue_scripts(
        send_stream(*chunks, speech.usage_chunk(counts), DONE)
        if streams
        else send_reply(speech.chat_completion(usage=counts))
    )
    usage = await read_shown_usage(gateway, alice, streams=streams)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 3, 12)
    assert None not in (*usage.values(), *usage.get("completion_tokens_details", {}).values())
    assert not (await rows.read_only_usage_record()).estimated


@pytest.mark.parametrize("place", ["x_groq", "choice"])
async def test_usage_that_is_not_at_the_top_of_its_chunk_is_read(gateway, upstream, alice, place):
    last = speech.chat_chunk(finish="stop")
    if place == "x_groq":
        last["x_groq"] = {"id": "req_1", "usage": speech.token_usage(9, 3)}
    else:
        last["choices"][0]["usage"] = speech.token_usage(9, 3)
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hi"), last, DONE))
    usage = await read_shown_usage(gateway, alice, streams=True)
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (9, 12)
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (9, 3, False)


async def read_shown_usage(gateway, alice, *, streams):
    options = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    answer = await gateway.request_chat(alice.key, **options)
    return answer.events[-1]["usage"] if streams else answer.json["usage"]


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
