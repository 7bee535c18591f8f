"""The faults of the faulty upstream: one function each, found by its model in FAULTS_BY_MODEL."""

import json
import time
from collections.abc import Awaitable, Callable, Sequence

from providers.protocol.json_types import JsonObject
from proxysite.conformance.dialogue import (
    ANSWER_TEXT,
    ANSWER_WORDS,
    CUT_AFTER,
    MALFORMED_AFTER,
    STALL_AFTER,
)
from proxysite.conformance.exchange import FaultyExchange

Fault = Callable[[FaultyExchange], Awaitable[None]]
OVERLOADED_MESSAGE = "The engine is overloaded at the moment."


# --- refusals -------------------------------------------------------------------------------------
async def limit_rate_once(exchange: FaultyExchange) -> None:
    if exchange.logged_request.attempt > 1:
        return await answer_healthily(exchange)
    seconds = int(exchange.timings.retry_after_seconds)
    exchange.logged_request.retry_after_seconds = float(seconds)
    message = f"Rate limit reached. Ask again in {seconds} s."
    return await exchange.send_error_object(
        429, message, "rate_limit_exceeded", retry_after=str(seconds)
    )


async def limit_rate(exchange: FaultyExchange) -> None:
    await exchange.send_error_object(429, "Rate limit reached.", "rate_limit_exceeded")


async def fail_once(exchange: FaultyExchange) -> None:
    if exchange.logged_request.attempt > 1:
        return await answer_healthily(exchange)
    return await exchange.send_error_object(500, "Something went wrong while answering.", None)


async def refuse_overloaded(exchange: FaultyExchange) -> None:
    await exchange.send_error_object(503, OVERLOADED_MESSAGE, "overloaded")


async def fail_for_a_time(exchange: FaultyExchange) -> None:
    if exchange.seconds_since_reset >= exchange.timings.outage_seconds:
        return await answer_healthily(exchange)
    return await refuse_overloaded(exchange)


async def refuse_length(exchange: FaultyExchange) -> None:
    message = "The maximum context length is 16 tokens; the messages have more. Make them shorter."
    await exchange.send_error_object(400, message, "context_length_exceeded")


async def refuse_content(exchange: FaultyExchange) -> None:
    message = "The safety system rejects this request."
    await exchange.send_error_object(400, message, "content_policy_violation")


# --- connections ----------------------------------------------------------------------------------
async def reset_once(exchange: FaultyExchange) -> None:
    if exchange.logged_request.attempt > 1:
        return await answer_healthily(exchange)
    exchange.logged_request.fault = exchange.logged_request.ending = "reset before the answer"
    exchange.reset_connection()
    return None


async def never_answer(exchange: FaultyExchange) -> None:
    exchange.logged_request.fault = exchange.logged_request.ending = "no answer"
    await exchange.stay_silent(exchange.timings.silence_seconds)
    exchange.close_connection()


# --- answers --------------------------------------------------------------------------------------
async def answer_healthily(exchange: FaultyExchange) -> None:
    """Give the healthy answer, streamed or whole."""
    if exchange.logged_request.streams:
        await begin_stream(exchange)
        await send_words(exchange, ANSWER_WORDS)
        await end_stream(exchange)
    else:
        await exchange.send_json(200, build_completion(exchange))
    exchange.logged_request.ending = "200"


async def answer_without_prefill(exchange: FaultyExchange) -> None:
    """Answer, but refuse to continue a message of the assistant."""
    if exchange.logged_request.last_role == "assistant":
        message = "This model does not go on with a message of the assistant."
        return await exchange.send_error_object(400, message, "prefill_not_supported")
    return await answer_healthily(exchange)


async def start_slowly(exchange: FaultyExchange) -> None:
    if exchange.logged_request.streams:
        await begin_stream(exchange)
    exchange.logged_request.fault = "slow first word"
    await exchange.stay_silent(exchange.timings.slow_start_seconds)
    if not exchange.logged_request.streams:
        return await exchange.send_json(200, build_completion(exchange))
    await send_words(exchange, ANSWER_WORDS)
    return await end_stream(exchange)


async def send_beginning(exchange: FaultyExchange, word_count: int, share: float) -> None:
    """Send the first `word_count` words of a stream, or the first `share` of a whole answer."""
    if exchange.logged_request.streams:
        await begin_stream(exchange)
        await send_words(exchange, ANSWER_WORDS[:word_count])
    else:
        await send_part_of_whole(exchange, share)


async def cut_midway(exchange: FaultyExchange) -> None:
    await send_beginning(exchange, CUT_AFTER, 0.6)
    exchange.logged_request.fault = exchange.logged_request.ending = "cut in the middle"
    exchange.close_connection()


async def stall_midway(exchange: FaultyExchange) -> None:
    await send_beginning(exchange, STALL_AFTER, 0.3)
    exchange.logged_request.fault = exchange.logged_request.ending = "silent in the middle"
    await exchange.stay_silent(exchange.timings.stall_seconds)
    exchange.close_connection()


async def garble_event(exchange: FaultyExchange) -> None:
    if not exchange.logged_request.streams:
        data = json.dumps(build_completion(exchange)).encode()
        await exchange.send_head(200, "application/json", len(data) // 2)
        exchange.logged_request.fault = exchange.logged_request.ending = "malformed body"
        await exchange.send_part(data[: len(data) // 2])
        return await exchange.send_end()
    await begin_stream(exchange)
    await send_words(exchange, ANSWER_WORDS[:MALFORMED_AFTER])
    exchange.logged_request.fault = "malformed event"
    await exchange.send_event(json.dumps(build_stream_chunk(exchange, {"content": "?"}))[:-25])
    await send_words(exchange, ANSWER_WORDS[MALFORMED_AFTER:], continues_text=True)
    return await end_stream(exchange)


async def end_without_done(exchange: FaultyExchange) -> None:
    if not exchange.logged_request.streams:  # a whole answer has no [DONE]
        return await answer_healthily(exchange)
    await begin_stream(exchange)
    await send_words(exchange, ANSWER_WORDS)
    exchange.logged_request.fault = "no [DONE]"
    return await end_stream(exchange, sends_done=False)


# --- pieces of answers ----------------------------------------------------------------------------
def record_answer_usage(exchange: FaultyExchange) -> dict[str, int]:
    """Return the usage of the answer, and note in the log that it was sent."""
    prompt = exchange.logged_request.prompt_chars // 4
    completion = len(ANSWER_WORDS)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    exchange.logged_request.usage = usage
    return usage


def build_completion(exchange: FaultyExchange) -> JsonObject:
    message = {"role": "assistant", "content": ANSWER_TEXT}
    return {
        "id": exchange.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": exchange.logged_request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": record_answer_usage(exchange),
    }


def build_stream_chunk(
    exchange: FaultyExchange, delta: dict[str, str], finish: str | None = None
) -> JsonObject:
    return {
        "id": exchange.id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": exchange.logged_request.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


async def begin_stream(exchange: FaultyExchange) -> None:
    await exchange.send_head(200, "text/event-stream", headers={"cache-control": "no-cache"})


async def send_words(
    exchange: FaultyExchange, words: Sequence[str], *, continues_text: bool = False
) -> None:
    """Send these words, each as an event; `continues_text`: other words have been sent before."""
    if not continues_text:
        await exchange.send_event(
            build_stream_chunk(exchange, {"role": "assistant", "content": ""})
        )
    for number, word in enumerate(words):
        text = f" {word}" if number or continues_text else word
        await exchange.send_event(build_stream_chunk(exchange, {"content": text}))
        await exchange.stay_silent(exchange.timings.word_seconds)


async def end_stream(exchange: FaultyExchange, *, sends_done: bool = True) -> None:
    await exchange.send_event(build_stream_chunk(exchange, {}, "stop"))
    options = exchange.logged_request.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        last = build_stream_chunk(exchange, {}) | {
            "choices": [],
            "usage": record_answer_usage(exchange),
        }
        await exchange.send_event(last)
    if sends_done:
        await exchange.send_event("[DONE]")
    await exchange.send_end()
    exchange.logged_request.ending = "200"


async def send_part_of_whole(exchange: FaultyExchange, share: float) -> None:
    """Announce a whole answer, and send only this share of it."""
    data = json.dumps(build_completion(exchange)).encode()
    await exchange.send_head(200, "application/json", len(data))
    await exchange.send_part(data[: int(len(data) * share)])


FAULTS_BY_MODEL: dict[str, Fault] = {
    "fb-ok": answer_healthily,
    "fb-ok-noprefill": answer_without_prefill,
    "fb-s01": limit_rate_once,
    "fb-s02": limit_rate,
    "fb-s03": fail_once,
    "fb-s04": refuse_overloaded,
    "fb-s05": reset_once,
    "fb-s06": never_answer,
    "fb-s07": start_slowly,
    "fb-s08": cut_midway,
    "fb-s09": stall_midway,
    "fb-s10": garble_event,
    "fb-s11": end_without_done,
    "fb-s12": refuse_length,
    "fb-s13": refuse_content,
    "fb-s14": cut_midway,
    "fb-s15": fail_for_a_time,
    "fb-s16": refuse_overloaded,
}
