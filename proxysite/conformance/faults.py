"""The faults of the faulty upstream: one function per fault, found by its model in MODELS."""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from proxysite.conformance.dialogue import CUT_AFTER, MALFORMED_AFTER, STALL_AFTER, TEXT, WORDS
from proxysite.conformance.exchange import Exchange

Fault = Callable[[Exchange], Awaitable[None]]
OVERLOADED = "The engine is overloaded at the moment."


# --- refusals -------------------------------------------------------------------------------------
async def limit_rate_once(exchange: Exchange) -> None:
    if exchange.asked.attempt > 1:
        return await answer(exchange)
    seconds = int(exchange.timings.retry_after_seconds)
    exchange.asked.retry_after_seconds = float(seconds)
    message = f"Rate limit reached. Ask again in {seconds} s."
    return await exchange.refuse(429, message, "rate_limit_exceeded", retry_after=str(seconds))


async def limit_rate(exchange: Exchange) -> None:
    await exchange.refuse(429, "Rate limit reached.", "rate_limit_exceeded")


async def fail_once(exchange: Exchange) -> None:
    if exchange.asked.attempt > 1:
        return await answer(exchange)
    return await exchange.refuse(500, "Something went wrong while answering.", None)


async def fail(exchange: Exchange) -> None:
    await exchange.refuse(503, OVERLOADED, "overloaded")


async def fail_for_a_time(exchange: Exchange) -> None:
    if exchange.seconds >= exchange.timings.outage_seconds:
        return await answer(exchange)
    return await fail(exchange)


async def refuse_length(exchange: Exchange) -> None:
    message = "The maximum context length is 16 tokens; the messages have more. Make them shorter."
    await exchange.refuse(400, message, "context_length_exceeded")


async def refuse_content(exchange: Exchange) -> None:
    message = "The safety system rejects this request."
    await exchange.refuse(400, message, "content_policy_violation")


# --- connections ----------------------------------------------------------------------------------
async def reset_once(exchange: Exchange) -> None:
    if exchange.asked.attempt > 1:
        return await answer(exchange)
    exchange.asked.fault = exchange.asked.ending = "reset before the answer"
    exchange.reset()
    return None


async def never_answer(exchange: Exchange) -> None:
    exchange.asked.fault = exchange.asked.ending = "no answer"
    await exchange.stay_silent(exchange.timings.silence_seconds)
    exchange.close()


# --- answers --------------------------------------------------------------------------------------
async def answer(exchange: Exchange) -> None:
    """Give the healthy answer, streamed or whole."""
    if exchange.asked.streams:
        await begin_stream(exchange)
        await send_words(exchange, WORDS)
        await end_stream(exchange)
    else:
        await exchange.send_json(200, completion(exchange))
    exchange.asked.ending = "200"


async def answer_without_prefill(exchange: Exchange) -> None:
    """Answer, but refuse to continue a message of the assistant."""
    if exchange.asked.last_role == "assistant":
        message = "This model does not go on with a message of the assistant."
        return await exchange.refuse(400, message, "prefill_not_supported")
    return await answer(exchange)


async def start_slowly(exchange: Exchange) -> None:
    if exchange.asked.streams:
        await begin_stream(exchange)
    exchange.asked.fault = "slow first word"
    await exchange.stay_silent(exchange.timings.slow_start_seconds)
    if not exchange.asked.streams:
        return await exchange.send_json(200, completion(exchange))
    await send_words(exchange, WORDS)
    return await end_stream(exchange)


async def cut_off(exchange: Exchange) -> None:
    if exchange.asked.streams:
        await begin_stream(exchange)
        await send_words(exchange, WORDS[:CUT_AFTER])
    else:
        await send_part_of_whole(exchange, 0.6)
    exchange.asked.fault = exchange.asked.ending = "cut in the middle"
    exchange.close()


async def stall(exchange: Exchange) -> None:
    if exchange.asked.streams:
        await begin_stream(exchange)
        await send_words(exchange, WORDS[:STALL_AFTER])
    else:
        await send_part_of_whole(exchange, 0.3)
    exchange.asked.fault = exchange.asked.ending = "silent in the middle"
    await exchange.stay_silent(exchange.timings.stall_seconds)
    exchange.close()


async def garble(exchange: Exchange) -> None:
    if not exchange.asked.streams:
        data = json.dumps(completion(exchange)).encode()
        await exchange.send_head(200, "application/json", len(data) // 2)
        exchange.asked.fault = exchange.asked.ending = "malformed body"
        await exchange.send_part(data[: len(data) // 2])
        return await exchange.send_end()
    await begin_stream(exchange)
    await send_words(exchange, WORDS[:MALFORMED_AFTER])
    exchange.asked.fault = "malformed event"
    await exchange.send_event(json.dumps(chunk(exchange, {"content": "?"}))[:-25])
    await send_words(exchange, WORDS[MALFORMED_AFTER:], follow=True)
    return await end_stream(exchange)


async def end_without_done(exchange: Exchange) -> None:
    if not exchange.asked.streams:  # a whole answer has no [DONE]
        return await answer(exchange)
    await begin_stream(exchange)
    await send_words(exchange, WORDS)
    exchange.asked.fault = "no [DONE]"
    return await end_stream(exchange, done=False)


# --- pieces of answers ----------------------------------------------------------------------------
def usage(exchange: Exchange) -> dict[str, int]:
    """Return the usage of the answer, and note in the log that it was sent."""
    prompt = exchange.asked.prompt_chars // 4
    completion = len(WORDS)
    found = {"prompt_tokens": prompt, "completion_tokens": completion}
    found["total_tokens"] = prompt + completion
    exchange.asked.usage = found
    return found


def completion(exchange: Exchange) -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT}
    return {
        "id": exchange.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": exchange.asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage(exchange),
    }


def chunk(exchange: Exchange, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": exchange.id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": exchange.asked.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


async def begin_stream(exchange: Exchange) -> None:
    await exchange.send_head(200, "text/event-stream", headers={"cache-control": "no-cache"})


async def send_words(exchange: Exchange, words: Sequence[str], *, follow: bool = False) -> None:
    """Send these words, each as an event; `follow`: other words have been sent before."""
    if not follow:
        await exchange.send_event(chunk(exchange, {"role": "assistant", "content": ""}))
    for number, word in enumerate(words):
        text = f" {word}" if number or follow else word
        await exchange.send_event(chunk(exchange, {"content": text}))
        await exchange.stay_silent(exchange.timings.word_seconds)


async def end_stream(exchange: Exchange, *, done: bool = True) -> None:
    await exchange.send_event(chunk(exchange, {}, "stop"))
    options = exchange.asked.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        last = chunk(exchange, {}) | {"choices": [], "usage": usage(exchange)}
        await exchange.send_event(last)
    if done:
        await exchange.send_event("[DONE]")
    await exchange.send_end()
    exchange.asked.ending = "200"


async def send_part_of_whole(exchange: Exchange, share: float) -> None:
    """Announce a whole answer, and send only this share of it."""
    data = json.dumps(completion(exchange)).encode()
    await exchange.send_head(200, "application/json", len(data))
    await exchange.send_part(data[: int(len(data) * share)])


MODELS: dict[str, Fault] = {
    "fb-ok": answer,
    "fb-ok-noprefill": answer_without_prefill,
    "fb-s01": limit_rate_once,
    "fb-s02": limit_rate,
    "fb-s03": fail_once,
    "fb-s04": fail,
    "fb-s05": reset_once,
    "fb-s06": never_answer,
    "fb-s07": start_slowly,
    "fb-s08": cut_off,
    "fb-s09": stall,
    "fb-s10": garble,
    "fb-s11": end_without_done,
    "fb-s12": refuse_length,
    "fb-s13": refuse_content,
    "fb-s14": cut_off,
    "fb-s15": fail_for_a_time,
    "fb-s16": fail,
}
