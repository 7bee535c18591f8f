"""Events of the Messages API read as a client reads them, with the rules of their order."""

import json
from typing import Any

from providers.protocol.json_types import JsonObject


def read_events(body: bytes) -> list[JsonObject]:
    """Return the events of a stream; each has its own type as its name."""
    parts = body.decode().split("\n\n")
    assert parts.pop() == "", body
    events = []
    for part in parts:
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}", part
        events.append(event)
    return events


def build_streamed_message(events: list[JsonObject]) -> JsonObject:
    """Return the message that events make up. Fails where they are not in their order."""
    events = [event for event in events if event["type"] != "ping"]
    assert events[0]["type"] == "message_start", events
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"], events
    message: JsonObject = json.loads(json.dumps(events[0]["message"]))
    assert message["content"] == []
    open_index: int | None = None
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert open_index is None, events
            open_index = event["index"]
            assert open_index == len(message["content"]), events
            message["content"].append(dict(event["content_block"]))
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_index, events
            complete_block(message["content"][-1])
            open_index = None
        else:
            assert event["type"] == "content_block_delta", events
            assert event["index"] == open_index, events
            add_delta(message["content"][-1], event["delta"])
    assert open_index is None, events
    message |= events[-2]["delta"]
    message["usage"] |= events[-2]["usage"]
    return message


def add_delta(block: JsonObject, delta: JsonObject) -> None:
    """Add a delta to its block."""
    kind = delta["type"]
    if kind == "text_delta":
        assert block["type"] == "text"
        block["text"] += delta["text"]
    elif kind == "thinking_delta":
        assert block["type"] == "thinking"
        block["thinking"] += delta["thinking"]
    elif kind == "signature_delta":
        assert block["type"] == "thinking"
        block["signature"] = delta["signature"]
    elif kind == "citations_delta":
        block.setdefault("citations", []).append(delta["citation"])
    else:
        assert kind == "input_json_delta"
        assert block["type"] == "tool_use"
        block["_json"] = block.get("_json", "") + delta["partial_json"]


def complete_block(block: JsonObject) -> None:
    """Read the arguments of a call whose block is over."""
    text: Any = block.pop("_json", "")
    if text:
        block["input"] = json.loads(text)
