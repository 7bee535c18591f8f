"""Upstreams of three characters, as scripts for the server of the fixtures.

Their refusals have the forms of OpenAI's and Mistral's API, and the local one is like llama.cpp's
server with a small model that thinks in tags.
"""

from typing import Any

from providers.protocol.json_types import JsonObject
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, send_refusal, send_reply, send_stream

CALL = {"id": "abcDEF123", "type": "function", "function": {"name": "report_ok", "arguments": "{}"}}
LONG = 16  # tokens that every question's answer may have


async def send_models(exchange: Exchange, names: list[str], owner: str) -> None:
    entries = [{"id": name, "object": "model", "owned_by": owner} for name in names]
    await send_reply({"object": "list", "data": entries})(exchange)


def is_for_models(exchange: Exchange) -> bool:
    return exchange.request.path.endswith("/models")


# --- OpenAI with a model that thinks --------------------------------------------------------------
async def refuse_as_openai(exchange: Exchange, name: str, code: str) -> None:
    error = {
        "message": f"{code.replace('_', ' ').capitalize()}: '{name}'.",
        "type": "invalid_request_error",
        "param": name,
        "code": code,
    }
    await send_reply({"error": error}, 400)(exchange)


async def strict_openai(exchange: Exchange) -> None:
    """Answer as OpenAI does for gpt-5, which names its limit differently and hides its thinking."""
    if is_for_models(exchange):
        return await send_models(exchange, ["gpt-5", "gpt-4o"], "system")
    body = exchange.request.json
    if "max_tokens" in body:
        return await refuse_as_openai(exchange, "max_tokens", "unsupported_parameter")
    for position, message in enumerate(body["messages"]):
        for name in ("reasoning_content", "reasoning"):
            if name in message:
                path = f"messages[{position}].{name}"
                return await refuse_as_openai(exchange, path, "unknown_parameter")
        for number, call in enumerate(message.get("tool_calls") or ()):
            if "extra_content" in call:
                path = f"messages[{position}].tool_calls[{number}].extra_content"
                return await refuse_as_openai(exchange, path, "unknown_parameter")
    if "presence_penalty" in body:
        return await refuse_as_openai(exchange, "presence_penalty", "unsupported_parameter")
    return await answer_like_openai(exchange, body, "")


async def answer_like_openai(exchange: Exchange, body: JsonObject, text: str) -> None:
    """Answer with a forced call, a stream or a text that is cut at its limit."""
    if body.get("stream"):
        chunks = speech.content_chunks("OK")
        chunks += [speech.chat_chunk(finish="stop"), speech.usage_chunk()]
        await send_stream(*chunks, DONE)(exchange)
    elif isinstance(body.get("tool_choice"), dict):
        message = {"content": None, "tool_calls": [CALL]}
        await send_reply(speech.chat_completion(message=message, finish="tool_calls"))(exchange)
    else:
        await send_reply(speech.chat_completion(text, finish="length"))(exchange)


# --- Mistral --------------------------------------------------------------------------------------
MISTRAL_FIELDS = frozenset(
    """
    model messages max_tokens stream temperature top_p presence_penalty frequency_penalty tools
    tool_choice
    """.split()
)
MISTRAL_ROLES = ("system", "user", "assistant", "tool")
MISTRAL_MESSAGE = frozenset(("role", "content", "tool_calls", "tool_call_id"))


def find_mistral_fault(body: JsonObject) -> list[Any]:
    """Return the place of the first thing that is not known; empty when all is."""
    for name in body:
        if name not in MISTRAL_FIELDS:
            return ["body", name]
    for position, message in enumerate(body["messages"]):
        if message["role"] not in MISTRAL_ROLES:
            return ["body", "messages", position, "role"]
        for name in message.keys() - MISTRAL_MESSAGE:
            return ["body", "messages", position, message["role"], name]
        for call in message.get("tool_calls") or ():
            if "extra_content" in call:
                return ["body", "messages", position, "assistant", "tool_calls", 0, "extra_content"]
    return []


async def strict_mistral(exchange: Exchange) -> None:
    """Answer as Mistral does with Magistral: unknown fields are 422, thinking comes as parts."""
    if is_for_models(exchange):
        return await send_models(exchange, ["magistral-medium"], "mistralai")
    body = exchange.request.json
    if place := find_mistral_fault(body):
        fault = {"type": "extra_forbidden", "loc": place, "msg": "Extra inputs are not permitted"}
        return await send_reply({"detail": [fault]}, 422)(exchange)
    answer = speech.chat_completion()
    answer["choices"][0]["message"] |= {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "They want"}]},
            {"type": "text", "text": "1 2"},
        ]
    }
    if body.get("stream") or body.get("tool_choice"):
        return await answer_like_openai(exchange, body, "OK")
    return await send_reply(answer)(exchange)


# --- a server on one's own machine ----------------------------------------------------------------
async def plain_local(exchange: Exchange) -> None:
    """Take everything, pass over what is not known, and think in tags."""
    if is_for_models(exchange):
        return await send_models(exchange, ["tiny"], "llamacpp")
    body = exchange.request.json
    if body.get("stream"):
        chunks = [*speech.content_chunks("<think>", "hm"), speech.chat_chunk(finish="stop")]
        return await send_stream(*chunks, DONE)(exchange)
    text = "<think>They want an OK.</think>OK"
    if body.get("max_tokens") == LONG:
        return await send_reply(speech.chat_completion(text, finish="stop"))(exchange)
    usage = speech.token_usage(completion=60)
    return await send_reply(speech.chat_completion(text, usage=usage))(exchange)


async def dead_key(exchange: Exchange) -> None:
    await send_refusal(401, "Incorrect API key provided.", "invalid_api_key")(exchange)
