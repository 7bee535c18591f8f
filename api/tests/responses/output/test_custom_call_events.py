"""The events of custom tools and of functions in namespaces, checked by the openai package (F1)."""

import orjson
import pytest

from api.responses.output.objects import build_response_head
from api.responses.output.renderer import EventRenderer
from api.responses.request import schema
from api.responses.request.to_chat import read_tool_names
from api.tests.responses.output.rendered_events import (
    CREATED,
    ID,
    REQUEST,
    event_types,
    join_deltas,
    make_call,
    make_end,
    parse_events,
    read_with_sdk,
)
from providers.protocol.chunks import make_delta
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

TEXT = '*** Begin Patch\n+ "ü" \\ 😀\n'
TOOLS = [
    {"type": "custom", "name": "apply_patch"},
    {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "close"}]},
]


def make_renderer():
    body = {"model": "public", "input": "hi", "tools": TOOLS}
    body = schema.read_response_body(orjson.dumps(body))
    trace = Trace(REQUEST)
    trace.meter.counted = TokenUsage(prompt=5, completion=7)
    names = read_tool_names(body)
    head = build_response_head(body, ID, CREATED, stored=True, tool_names=names)
    return EventRenderer(trace, head)


def render_batches(batches):
    renderer = make_renderer()
    sent = [parse_events(renderer.render_batch(batch)) for batch in batches]
    return [*sent, parse_events(renderer.render_end())]


def test_the_input_is_sent_while_it_comes():
    arguments = orjson.dumps({"input": TEXT}).decode()
    start = make_call(0, id="c1", name="apply_patch", arguments="")
    pieces = [make_call(0, arguments=piece) for piece in arguments]
    sent = render_batches([[start], *([piece] for piece in pieces), [make_end("tool_calls")]])
    events = [event for batch in sent for event in batch]
    read_with_sdk(events)
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert (len(deltas), join_deltas(events, "custom_tool_call_input")) == (len(TEXT), TEXT)
    assert event_types(events)[2] == "output_item.added"
    assert event_types(events)[-3:] == [
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", TEXT)
    assert {event["item_id"] for event in events if "item_id" in event} == {item["id"]}


@pytest.mark.parametrize("arguments", [TEXT, '{"patch": "x"}', ""])
def test_unusual_arguments_are_sent_at_the_end(arguments):
    batch = [make_call(0, id="c1", name="apply_patch", arguments=arguments)]
    events = [event for sent in render_batches([batch, [make_end()]]) for event in sent]
    read_with_sdk(events)
    assert join_deltas(events, "custom_tool_call_input") == arguments
    assert events[-1]["response"]["output"][0]["input"] == arguments


def test_a_function_of_a_namespace_is_told_with_it():
    batch = [make_call(0, id="c1", name="agents__close", arguments="{}"), make_end("tool_calls")]
    events = [event for sent in render_batches([batch]) for event in sent]
    read_with_sdk(events)
    items = [event["item"] for event in events if "item" in event]
    assert {(item["name"], item["namespace"]) for item in items} == {("close", "agents")}
    assert [event["name"] for event in events if event["type"].endswith("arguments.done")] == [
        "close"
    ]


def test_calls_of_two_kinds_that_come_in_turns_are_told_one_after_another():
    batches = [
        [
            make_call(0, id="c1", name="apply_patch", arguments='{"input"'),
            make_call(1, id="c2", name="agents__close", arguments='{"a"'),
        ],
        [make_call(0, arguments=':"x"}'), make_call(1, arguments=":2}")],
        [make_end("tool_calls")],
    ]
    events = [event for sent in render_batches(batches) for event in sent]
    read_with_sdk(events)
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == sorted(places)
    assert join_deltas(events, "custom_tool_call_input") == "x"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_custom_call_of_the_upstreams_own_form_is_told_as_one(streams):
    call = {"id": "c1", "type": "custom", "custom": {"name": "apply_patch", "input": TEXT}}
    if streams:
        chunk = make_delta(REQUEST, tool_calls=[{"index": 0, **call}])
        events = [event for sent in render_batches([[chunk], [make_end()]]) for event in sent]
        read_with_sdk(events)
        response = events[-1]["response"]
    else:
        choice = {"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
        response = orjson.loads(make_renderer().render_whole({"choices": [choice]}))
    [item] = response["output"]
    assert (item["type"], item["call_id"], item["input"]) == ("custom_tool_call", "c1", TEXT)
    assert item["id"].startswith("ctc_")
