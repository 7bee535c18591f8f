"""Scripts of an upstream whose model thinks, speaks and calls tools, whole or streamed."""

import json

from providers.protocol.json_types import JsonObject
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, Script, send_reply, send_stream


def make_call(name: str, arguments: JsonObject | str, call_id: str = "call_1") -> JsonObject:
    """Return a call of a function; a text stands for arguments that are no JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def answer_with_calls(*calls: JsonObject, text: str = "", thinking: str = "") -> Script:
    """Return a script that answers with these calls, in the form that the request wants.

    In a stream names and arguments come in pieces.
    """

    async def answer_request(exchange: Exchange) -> None:
        finish = "tool_calls" if calls else "stop"
        message: JsonObject = {"content": text or None}
        if thinking:
            message["reasoning_content"] = thinking
        if calls:
            message["tool_calls"] = list(calls)
        if not exchange.request.json.get("stream"):
            answer = speech.chat_completion(None, finish=finish, message=message)
            await send_reply(answer)(exchange)
            return
        chunks = [speech.chat_chunk({"role": "assistant", "content": ""})]
        if thinking:
            chunks.append(speech.chat_chunk({"reasoning_content": thinking}))
        half = len(text) // 2
        chunks += [
            speech.chat_chunk({"content": part}) for part in (text[:half], text[half:]) if part
        ]
        for index, call in enumerate(calls):
            chunks += [speech.chat_chunk({"tool_calls": [part]}) for part in cut_call(call, index)]
        chunks += [speech.chat_chunk(finish=finish), speech.usage_chunk()]
        await send_stream(*chunks, DONE)(exchange)

    return answer_request


def cut_call(call: JsonObject, index: int) -> list[JsonObject]:
    """Return a call as three parts of a stream."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    half = len(arguments) // 2
    head = {key: value for key, value in call.items() if key != "function"}
    return [
        {"index": index, **head, "function": {"name": name, "arguments": ""}},
        {"index": index, "function": {"arguments": arguments[:half]}},
        {"index": index, "function": {"arguments": arguments[half:]}},
    ]
