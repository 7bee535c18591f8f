import random
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from api.responses.output.objects import build_response_head
from api.responses.output.renderer import EventRenderer
from api.responses.request import schema
from api.streaming.stream_answer import SLICE_BYTES, Heartbeat, StreamAnswer
from conversations.messages.answer_builder import CollectedAnswer
from providers.exceptions import Disconnected, GatewayError, RateLimited, Rejected
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta, make_usage_chunk
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

ID = "0" * 31 + "7"
CREATED = 1_750_000_000
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUEST = ChatRequest(id=ID, endpoint=CHAT, model="public", body={}, stream=True)
CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 2, "url": "https://a.b", "title": "A"},
}
WEIGHED = {
    "token": "hé",
    "logprob": -0.5,
    "bytes": None,
    "top_logprobs": [{"token": "x", "logprob": -1, "bytes": [120]}],
}


def renderer(
    answer: CollectedAnswer | None = None, usage: TokenUsage | None = None, **fields: Any
) -> EventRenderer:
    body = schema.read_response_body(orjson.dumps({"model": "public", "input": "hi"} | fields))
    trace = Trace(REQUEST)
    trace.meter.counted = usage or TokenUsage(prompt=5, completion=7, reasoning=3, cached=2)
    return EventRenderer(trace, build_response_head(body, ID, CREATED, stored=True), answer)


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The events of SSE lines, each checked against the openai package's types."""
    found = []
    *blocks, last = data.split(b"\n\n")
    assert last == b""
    for block in blocks:
        name, line = block.split(b"\n")
        event = orjson.loads(line.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        assert EVENT.validate_json(line.removeprefix(b"data: "), strict=True).type == event["type"]
        found.append(event)
    return found


def told(batches: Iterable[list[Chunk]], **fields: Any) -> list[dict[str, Any]]:
    """All events of an answer that ended well; the openai package's own reader accepts them in this
    order.
    """
    rendering = renderer(**fields)
    found = parsed(
        b"".join(rendering.render_batch(batch) for batch in batches) + rendering.render_end()
    )
    read_by_the_sdk(found)
    return found


def read_by_the_sdk(events: list[dict[str, Any]]) -> Any:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for event in events:
        state.handle_event(construct_type_unchecked(value=event, type_=ResponseStreamEvent))  # type: ignore[arg-type]
    return state._completed_response


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def joined(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == f"response.{kind}.delta")


def call(index: int, **fields: Any) -> Chunk:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return make_delta(
        REQUEST, tool_calls=[{"index": index, "type": "function", "function": function, **fields}]
    )


def end(reason: str = "stop") -> Chunk:
    return make_delta(REQUEST, finish_reason=reason)


# --- streams --------------------------------------------------------------------------------------
def test_a_text_is_told_from_its_beginning_to_its_end() -> None:
    events = told(
        [
            [make_delta(REQUEST, role="assistant", content="Hel")],
            [make_delta(REQUEST, content="lo")],
            [end()],
        ]
    )
    assert types(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    final = events[-1]["response"]
    assert (final["id"], final["created_at"], final["model"]) == (f"resp_{ID}", CREATED, "public")
    assert final["output"] == [events[-2]["item"]]
    assert final["output"][0]["content"][0]["text"] == events[6]["text"] == "Hello"
    assert final["output"][0]["id"] == events[4]["item_id"]
    assert final["status"] == final["output"][0]["status"] == "completed"
    assert final["completed_at"] >= CREATED
    assert final["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 12,
    }
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []


def test_the_first_batch_begins_the_response_whatever_is_in_it() -> None:
    rendering = renderer()
    assert types(parsed(rendering.render_batch([make_delta(REQUEST, role="assistant")]))) == [
        "created",
        "in_progress",
    ]
    assert rendering.render_batch([make_delta(REQUEST)]) == b""
    assert rendering.render_batch([make_usage_chunk(REQUEST, {"prompt_tokens": 1})]) == b""


def test_a_response_in_the_background_is_queued_first() -> None:
    events = told([[make_delta(REQUEST, content="x"), end()]], background=True)
    assert types(events)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == [
        "queued",
        "queued",
        "in_progress",
    ]
    assert events[0]["response"]["background"] is True


def test_an_answer_of_nothing_is_completed() -> None:
    assert types(told([[end()]])) == ["created", "in_progress", "completed"]


def test_thinking_is_told_raw_and_closed_before_the_words_begin() -> None:
    batches = [[make_delta(REQUEST, reasoning_content=text)] for text in ("I ", "think")]
    events = told([*batches, [make_delta(REQUEST, content="so"), end()]])
    assert types(events)[2:9] == [
        *(
            "output_item.added",
            "content_part.added",
            "reasoning_text.delta",
            "reasoning_text.delta",
        ),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
    ]
    assert joined(events, "reasoning_text") == "I think"
    thought, message = events[-1]["response"]["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "I think"}]
    assert thought["summary"] == []
    assert (message["type"], events[-2]["output_index"]) == ("message", 1)


def test_thinking_is_told_as_a_summary_where_the_caller_asks_for_one() -> None:
    batches = [
        [
            make_delta(REQUEST, reasoning_content="I "),
            make_delta(REQUEST, reasoning_content="think"),
        ],
        [end()],
    ]
    events = told(batches, reasoning={"summary": "auto"})
    assert types(events)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    [thought] = events[-1]["response"]["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "I think"}]
    assert "content" not in thought


def test_calls_are_told_one_after_another() -> None:
    batches = [
        [call(0, id="c1", name="f", arguments=""), call(0, arguments='{"a"')],
        [call(0, arguments=":1}")],
        [call(1, id="c2", name="g", arguments="")],
        [call(1, arguments="{}")],
        [end("tool_calls")],
    ]
    rendering = renderer()
    sent = [parsed(rendering.render_batch(batch)) for batch in batches]
    assert types(sent[2]) == ["function_call_arguments.done", "output_item.done"], (
        "as soon as the next one begins"
    )
    assert types(sent[3])[0] == "output_item.added"
    events = [event for batch in sent for event in batch] + parsed(rendering.render_end())
    read_by_the_sdk(events)
    first, second = events[-1]["response"]["output"]
    assert (first["call_id"], first["name"], first["arguments"]) == ("c1", "f", '{"a":1}')
    assert (second["call_id"], second["name"], second["arguments"]) == ("c2", "g", "{}")
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["name"] for item in added] == ["f", "g"]
    assert all(item["arguments"] == "" for item in added)


def test_calls_that_come_in_turns_are_told_one_after_another_too() -> None:
    batches = [
        [
            call(0, id="c1", name="f", arguments='{"a"'),
            call(1, id="c2", name="g", arguments='{"b"'),
        ],
        [call(0, arguments=":1}"), call(1, arguments=":2}")],
        [end("tool_calls")],
    ]
    events = told(batches)
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == sorted(places)
    done = [
        event["arguments"]
        for event in events
        if event["type"] == "response.function_call_arguments.done"
    ]
    assert done == ['{"a":1}', '{"b":2}']
    assert joined(events, "function_call_arguments") == '{"a":1}{"b":2}'


def test_a_call_without_arguments_and_a_name_in_pieces_are_told() -> None:
    events = told([[call(0, id="c1", name="get_")], [call(0, name="time")], [end("tool_calls")]])
    assert types(events)[2:5] == [
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert [event["item"]["name"] for event in events if "item" in event] == ["get_time"] * 2


def test_thinking_words_and_calls_keep_their_order() -> None:
    said = [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="let me see")]
    again = [call(0, id="c1", name="f", arguments="{}"), make_delta(REQUEST, content="and so")]
    events = told([said, again, [end()]])
    kinds = ["reasoning", "message", "function_call", "message"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == kinds
    assert len({item["id"] for item in events[-1]["response"]["output"]}) == 4


def test_a_refusal_is_told_as_one() -> None:
    events = told(
        [[make_delta(REQUEST, refusal="I ")], [make_delta(REQUEST, refusal="won't"), end()]]
    )
    assert types(events)[3:8] == [
        *(
            "content_part.added",
            "refusal.delta",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
        ),
    ]
    assert events[-1]["response"]["output"][0]["content"] == [
        {"type": "refusal", "refusal": "I won't"}
    ]


@pytest.mark.parametrize("first", ["content", "refusal"])
def test_words_and_a_refusal_are_two_parts_of_one_message(first: str) -> None:
    second = "refusal" if first == "content" else "content"
    events = told(
        [[make_delta(REQUEST, **{first: "a"})], [make_delta(REQUEST, **{second: "b"})], [end()]]
    )
    [message] = events[-1]["response"]["output"]
    kinds = {"content": "output_text", "refusal": "refusal"}
    assert [part["type"] for part in message["content"]] == [kinds[first], kinds[second]]
    done = [event for event in events if event["type"] == "response.content_part.done"]
    assert [event["part"] for event in done] == message["content"]
    assert [event["content_index"] for event in done] == [0, 1]


def test_citations_are_told_and_flat() -> None:
    events = told(
        [
            [make_delta(REQUEST, content="so")],
            [make_delta(REQUEST, annotations=[CITED, {"type": "odd"}])],
            [end()],
        ]
    )
    flat = {
        "type": "url_citation",
        "start_index": 0,
        "end_index": 2,
        "url": "https://a.b",
        "title": "A",
    }
    [added] = [
        event for event in events if event["type"] == "response.output_text.annotation.added"
    ]
    assert (added["annotation"], added["annotation_index"]) == (flat, 0)
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [flat]


def test_log_probabilities_go_with_their_words() -> None:
    chunk = make_delta(REQUEST, content="hé")
    chunk["choices"][0]["logprobs"] = {"content": [WEIGHED]}
    events = told([[chunk], [make_delta(REQUEST, content="!")], [end()]], top_logprobs=1)
    first, second = [event for event in events if event["type"] == "response.output_text.delta"]
    assert (first["logprobs"][0]["token"], first["logprobs"][0]["logprob"]) == ("hé", -0.5)
    assert second["logprobs"] == []
    [entry] = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert entry["bytes"] == list("hé".encode())
    assert entry["top_logprobs"] == [{"token": "x", "logprob": -1, "bytes": [120]}]


@pytest.mark.parametrize(
    ("reason", "shown"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_off_by_a_limit_is_incomplete(reason: str, shown: str) -> None:
    events = told(
        [
            [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so")],
            [end(reason)],
        ]
    )
    assert types(events)[-1] == "incomplete"
    final = events[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": shown})
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]
    assert final["completed_at"] is None
    assert final["usage"]["total_tokens"] == 12


def test_what_strategies_say_of_their_thinking_is_in_the_final_object_and_breaks_nothing() -> None:
    batches = [
        [make_delta(REQUEST) | {"status": {"message": "thinking", "step": 2}}],
        [make_delta(REQUEST, content="so")],
        [
            make_delta(REQUEST)
            | {"steps": [{"title": "t"}], "total_thinking_time": 1.5, "model": "evil"}
        ],
        [end()],
    ]
    final = told(batches)[-1]["response"]
    assert (final["steps"], final["total_thinking_time"]) == ([{"title": "t"}], 1.5)
    assert final["model"] == "public"


def test_only_the_first_choice_is_told() -> None:
    other = make_delta(REQUEST, content="other")
    other["choices"][0]["index"] = 1
    assert joined(told([[make_delta(REQUEST, content="so"), other, end()]]), "output_text") == "so"


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_cut_anywhere_is_the_same_response(seed: int) -> None:
    rng = random.Random(seed)
    chunks: list[Chunk] = []
    texts = {
        "reasoning_content": "First I think. \n\n",
        "content": "Then — “I” say\u2028 it 🎈.",
        "refusal": "No!",
    }
    for field, text in texts.items():
        while text:
            size = rng.randint(1, 5)
            chunks.append(make_delta(REQUEST, **{field: text[:size]}))
            text = text[size:]
    pieces = [(0, piece) for piece in ('{"a":', "[1,2", "]}")] + [
        (1, piece) for piece in ("{", '"b":2', "}")
    ]
    if seed % 2:
        pieces = [pieces[at] for at in (0, 3, 1, 4, 2, 5)]
    chunks += [call(0, id="c1", name="f"), call(1, id="c2", name="g")]
    chunks += [call(index, arguments=piece) for index, piece in pieces] + [end("tool_calls")]
    batches: list[list[Chunk]] = []
    while chunks:
        size = rng.randint(1, 4)
        batches.append(chunks[:size])
        chunks = chunks[size:]
    events = told(batches)
    assert joined(events, "reasoning_text") == texts["reasoning_content"]
    assert joined(events, "output_text") == texts["content"]
    assert joined(events, "refusal") == texts["refusal"]
    assert joined(events, "function_call_arguments") == '{"a":[1,2]}{"b":2}'
    final = read_by_the_sdk(events)
    assert final.output_text == texts["content"]
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]


def test_an_answer_that_somebody_else_folds_is_told_once() -> None:
    answer = CollectedAnswer(ID)
    rendering = renderer(answer)
    sent = b""
    for batch in ([make_delta(REQUEST, content="a")], [make_delta(REQUEST, content="b")], [end()]):
        answer.add_chunks(batch)
        sent += rendering.render_batch(batch)
    assert joined(parsed(sent), "output_text") == "ab"


# --- failures -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Disconnected("It broke off."), "server_error"),
        (RateLimited("Too many."), "rate_limit_exceeded"),
        (Rejected("Bad words."), "invalid_prompt"),
    ],
)
def test_an_answer_that_breaks_off_has_failed(error: GatewayError, code: str) -> None:
    rendering = renderer()
    sent = rendering.render_batch(
        [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so fa")]
    )
    events = parsed(sent + rendering.render_failure(error))
    read_by_the_sdk(events)
    assert types(events)[-2:] == ["output_text.delta", "failed"]
    final = events[-1]["response"]
    assert (final["status"], final["error"]["code"], final["error"]["message"]) == (
        "failed",
        code,
        error.message,
    )
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]
    assert final["output"][1]["content"][0]["text"] == "so fa"
    assert final["completed_at"] is None


def test_a_failure_before_the_first_chunk_begins_the_response_too() -> None:
    events = parsed(renderer().render_failure(Disconnected("It broke off.")))
    read_by_the_sdk(events)
    assert types(events) == ["created", "in_progress", "failed"]
    assert events[-1]["response"]["error"]["reason"] == "upstream_disconnected"


def test_calls_that_were_half_said_are_incomplete_in_a_failure() -> None:
    rendering = renderer()
    chunks = [
        call(0, id="c1", name="f", arguments='{"a"'),
        call(1, id="c2", name="g", arguments="{}"),
    ]
    chunks += [call(2, id="c3", name="h", arguments="{")]
    events = parsed(
        rendering.render_batch(chunks) + rendering.render_failure(Disconnected("It broke off."))
    )
    output = events[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["incomplete", "completed", "incomplete"]


async def sent_by_the_server(*batches: list[Chunk], error: GatewayError) -> list[dict[str, Any]]:
    """What the server is given to send when the upstream breaks off after these batches."""
    messages: list[dict[str, Any]] = []

    async def upstream() -> Batches:
        for batch in batches:
            yield batch
        raise error

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await StreamAnswer(upstream(), renderer(), Heartbeat(60), f"req_{ID}").send_answer(send)
    return messages


async def test_a_large_event_is_sent_in_slices() -> None:
    text = "x" * (2 * SLICE_BYTES)
    _, *bodies = await sent_by_the_server(
        [make_delta(REQUEST, content=text)], error=Disconnected("It broke off.")
    )
    assert max(len(body["body"]) for body in bodies) == SLICE_BYTES
    assert [body["more_body"] for body in bodies] == [*[True] * (len(bodies) - 1), False]
    deltas = [
        event
        for event in parsed(b"".join(body["body"] for body in bodies))
        if event["type"].endswith("text.delta")
    ]
    assert deltas[0]["delta"] == text


async def test_a_stream_that_breaks_off_ends_with_the_failure_and_nothing_after_it() -> None:
    error = Disconnected("It broke off.")
    head, *bodies = await sent_by_the_server([make_delta(REQUEST, content="so fa")], error=error)
    assert head["status"] == 200
    assert [body["more_body"] for body in bodies] == [True, False]
    events = parsed(b"".join(body["body"] for body in bodies))
    assert types(events)[-2:] == ["output_text.delta", "failed"]


async def test_a_failure_before_the_first_chunk_keeps_its_status_and_the_usual_error_object() -> (
    None
):
    head, body = await sent_by_the_server(error=RateLimited("Too many."))
    assert head["status"] == 429
    assert orjson.loads(body["body"])["error"]["code"] == "rate_limit_exceeded"


# --- whole answers --------------------------------------------------------------------------------
def test_a_whole_answer_is_one_object() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {
        "content": "so",
        "reasoning_content": "hm",
        "annotations": [CITED],
        "tool_calls": calls,
    }
    raw = renderer().render_whole(
        make_completion(REQUEST, message, None, "tool_calls") | {"steps": []}
    )
    found = Response.model_validate_json(raw, strict=True)
    assert [item.type for item in found.output] == ["reasoning", "message", "function_call"]
    assert (found.output_text, found.status, found.id) == ("so", "completed", f"resp_{ID}")
    assert found.usage is not None
    assert found.usage.output_tokens_details.reasoning_tokens == 3
    assert orjson.loads(raw)["steps"] == []


def test_a_whole_answer_and_a_streamed_one_are_the_same_object() -> None:
    chunk = make_completion(REQUEST, {"content": "so", "reasoning_content": "hm"}, None, "length")
    whole = orjson.loads(renderer().render_whole(chunk))
    streamed = told(
        [
            [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so")],
            [end("length")],
        ]
    )
    assert whole == streamed[-1]["response"]


def test_figures_of_the_upstream_are_believed_and_guesses_told_as_they_are() -> None:
    rendering = renderer(usage=TokenUsage(prompt=9, completion=1, estimated=True))
    final = orjson.loads(rendering.render_whole(make_completion(REQUEST, {"content": "x"}, None)))
    assert final["usage"]["input_tokens"] == 9
