"""The bodies and events that Anthropic's Messages API sends, and scripts that send them.

Source: Anthropic's API reference, "Messages", "Streaming messages", "Errors".
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from providers.protocol.json_types import JsonObject
from proxysite.testing.upstream import (
    Event,
    Exchange,
    Script,
    StreamAction,
    send_reply,
    send_stream,
)

MESSAGE_ID = "msg_01XFDUDYJgAACzvnptvVoYEL"
MODEL = "claude-opus-5-5"
PING: JsonObject = {"type": "ping"}
PIECE_CHARS = 7  # of the pieces in which texts are streamed


def count_usage(prompt: int = 9, completion: int = 3, **counts: object) -> JsonObject:
    """Return usage; `counts` are those of the cache and of thinking."""
    return {"input_tokens": prompt, "output_tokens": completion, **counts}


def make_message(
    *blocks: JsonObject, stop: str = "end_turn", usage: JsonObject | None = None, **fields: object
) -> JsonObject:
    """Return a whole Message with these content blocks."""
    return {
        "id": MESSAGE_ID,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage or count_usage(),
        **fields,
    }


def text_block(text: str, *citations: JsonObject) -> JsonObject:
    block: JsonObject = {"type": "text", "text": text}
    return block | ({"citations": list(citations)} if citations else {})


def thinking_block(text: str, signature: str = "EqQBsigned==") -> JsonObject:
    return {"type": "thinking", "thinking": text, "signature": signature}


def redacted_block(data: str = "EmwKAhgBopaque==") -> JsonObject:
    return {"type": "redacted_thinking", "data": data}


def tool_block(
    name: str, call_id: str = "toolu_01A09q90qw90lq917835lq9", **fields: Any
) -> JsonObject:
    """Return the call of a tool with these fields as its input."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": fields}


def web_citation(url: str, title: str) -> JsonObject:
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title,
        "encrypted_index": "Eo8B",
        "cited_text": "…",
    }


def make_error(kind: str, message: str = "No.", **details: object) -> JsonObject:
    """Return an error, as a body or as an event of a stream."""
    error: JsonObject = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


# --- streams --------------------------------------------------------------------------------------
def stream_message(message: JsonObject) -> list[JsonObject]:
    """Return the events of a stream that makes up this Message, with a ping among them."""
    start = message | {"content": [], "stop_reason": None}
    start["usage"] = message["usage"] | {"output_tokens": 1}
    events: list[JsonObject] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message["content"]):
        events += stream_block(index, block)
        if index == 0:
            events.insert(2, PING)
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    ending |= {name: message[name] for name in ("stop_details",) if name in message}
    events.append({"type": "message_delta", "delta": ending, "usage": message["usage"]})
    events.append({"type": "message_stop"})
    return events


def stream_block(index: int, block: JsonObject) -> list[JsonObject]:
    """Return the events of one content block."""
    kind = block["type"]
    start = dict(block)
    deltas: Iterable[JsonObject] = ()
    if kind == "text":
        start["text"] = ""
        start.pop("citations", None)
        citations = block.get("citations") or ()
        cited = ({"type": "citations_delta", "citation": each} for each in citations)
        deltas = [*cut_text(block["text"], "text_delta", "text"), *cited]
    elif kind == "thinking":
        start |= {"thinking": "", "signature": ""}
        signature = {"type": "signature_delta", "signature": block["signature"]}
        deltas = [*cut_text(block["thinking"], "thinking_delta", "thinking"), signature]
    elif kind in ("tool_use", "server_tool_use"):
        start["input"] = {}
        text = json.dumps(block["input"]) if block["input"] else ""
        empty = {"type": "input_json_delta", "partial_json": ""}
        deltas = [empty, *cut_text(text, "input_json_delta", "partial_json")]
    begin = {"type": "content_block_start", "index": index, "content_block": start}
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [begin, *pieces, {"type": "content_block_stop", "index": index}]


def cut_text(text: str, kind: str, field: str) -> list[JsonObject]:
    """Return the deltas of a text."""
    starts = range(0, len(text), PIECE_CHARS)
    return [{"type": kind, field: text[start : start + PIECE_CHARS]} for start in starts]


def encode_event(event: Event) -> Event:
    """Return an event with its name, as bytes; gates and actions are returned as they are."""
    if not isinstance(event, dict):
        return event
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


# --- scripts --------------------------------------------------------------------------------------
def send_events(*events: Event, **headers: str) -> Script:
    """Return a script that streams these events."""
    return send_stream(*map(encode_event, events), **headers)


def send_error(status: int, kind: str, message: str = "No.", **headers: str) -> Script:
    """Return a script that sends an error."""
    return send_reply(make_error(kind, message), status, **headers)


def answer_message(*blocks: JsonObject, **fields: Any) -> Script:
    """Return a script that answers like Anthropic: whole or streamed as requested.

    `fields` are those of `make_message`. Token counts are answered too.
    """
    message = make_message(*(blocks or (text_block("Hello there!"),)), **fields)

    async def answer_request(exchange: Exchange) -> None:
        path = exchange.request.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            await send_reply({"input_tokens": 42})(exchange)
        elif exchange.request.json.get("stream"):
            await send_events(*stream_message(message))(exchange)
        else:
            await send_reply(message)(exchange)

    return answer_request


def break_off(events: Sequence[JsonObject], action: StreamAction) -> Script:
    """Return a script that streams these events and then ends the connection."""
    return send_events(*events, action)
