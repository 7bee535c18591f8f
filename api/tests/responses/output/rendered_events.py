"""The events of an answer, checked against the openai package."""

from collections.abc import Iterable
from typing import Any

import orjson
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from api.responses.output.objects import build_response_head
from api.responses.output.renderer import EventRenderer
from api.responses.request import schema
from conversations.messages.answer_builder import CollectedAnswer
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

ID = "0" * 31 + "7"
CREATED = 1_750_000_000
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUEST = ChatRequest(id=ID, endpoint=CHAT, model="public", body={}, stream=True)
CITATION = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 2, "url": "https://a.b", "title": "A"},
}
LOGPROB = {
    "token": "hé",
    "logprob": -0.5,
    "bytes": None,
    "top_logprobs": [{"token": "x", "logprob": -1, "bytes": [120]}],
}


def make_renderer(
    answer: CollectedAnswer | None = None, usage: TokenUsage | None = None, **fields: Any
) -> EventRenderer:
    body = schema.read_response_body(orjson.dumps({"model": "public", "input": "hi"} | fields))
    trace = Trace(REQUEST)
    trace.meter.counted = usage or TokenUsage(prompt=5, completion=7, reasoning=3, cached=2)
    return EventRenderer(trace, build_response_head(body, ID, CREATED, stored=True), answer)


def parse_events(data: bytes) -> list[dict[str, Any]]:
    """The events of SSE lines, each checked against the openai package's types."""
    found = []
    *blocks, last = data.split(b"\n\n")
    assert last == b""
    if blocks and blocks[-1] == b"data: [DONE]":
        del blocks[-1]
        assert b'data: {"type":"response.' in blocks[-1]  # it stands behind a final event only
    for block in blocks:
        name, line = block.split(b"\n")
        event = orjson.loads(line.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        assert EVENT.validate_json(line.removeprefix(b"data: "), strict=True).type == event["type"]
        found.append(event)
    return found


def render_events(batches: Iterable[list[Chunk]], **fields: Any) -> list[dict[str, Any]]:
    """All events of an answer that ended well; the openai package's own reader accepts them in this
    order.
    """
    rendering = make_renderer(**fields)
    found = parse_events(
        b"".join(rendering.render_batch(batch) for batch in batches) + rendering.render_end()
    )
    read_with_sdk(found)
    return found


def read_with_sdk(events: list[dict[str, Any]]) -> Any:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    event_type: Any = ResponseStreamEvent
    for event in events:
        state.handle_event(construct_type_unchecked(value=event, type_=event_type))
    return state._completed_response


def event_types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def join_deltas(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == f"response.{kind}.delta")


def make_call(index: int, **fields: Any) -> Chunk:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return make_delta(
        REQUEST, tool_calls=[{"index": index, "type": "function", "function": function, **fields}]
    )


def make_end(reason: str = "stop") -> Chunk:
    return make_delta(REQUEST, finish_reason=reason)
