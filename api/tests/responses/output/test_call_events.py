"""The events of function calls."""

from api.tests.responses.output.rendered_events import (
    event_types,
    join_deltas,
    make_call,
    make_end,
    make_renderer,
    parse_events,
    read_with_sdk,
    render_events,
)


def test_calls_are_told_one_after_another() -> None:
    batches = [
        [make_call(0, id="c1", name="f", arguments=""), make_call(0, arguments='{"a"')],
        [make_call(0, arguments=":1}")],
        [make_call(1, id="c2", name="g", arguments="")],
        [make_call(1, arguments="{}")],
        [make_end("tool_calls")],
    ]
    rendering = make_renderer()
    sent = [parse_events(rendering.render_batch(batch)) for batch in batches]
    assert event_types(sent[2]) == ["function_call_arguments.done", "output_item.done"], (
        "as soon as the next one begins"
    )
    assert event_types(sent[3])[0] == "output_item.added"
    events = [event for batch in sent for event in batch] + parse_events(rendering.render_end())
    read_with_sdk(events)
    first, second = events[-1]["response"]["output"]
    assert (first["call_id"], first["name"], first["arguments"]) == ("c1", "f", '{"a":1}')
    assert (second["call_id"], second["name"], second["arguments"]) == ("c2", "g", "{}")
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["name"] for item in added] == ["f", "g"]
    assert all(item["arguments"] == "" for item in added)


def test_calls_that_come_in_turns_are_told_one_after_another_too() -> None:
    batches = [
        [
            make_call(0, id="c1", name="f", arguments='{"a"'),
            make_call(1, id="c2", name="g", arguments='{"b"'),
        ],
        [make_call(0, arguments=":1}"), make_call(1, arguments=":2}")],
        [make_end("tool_calls")],
    ]
    events = render_events(batches)
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == sorted(places)
    done = [
        event["arguments"]
        for event in events
        if event["type"] == "response.function_call_arguments.done"
    ]
    assert done == ['{"a":1}', '{"b":2}']
    assert join_deltas(events, "function_call_arguments") == '{"a":1}{"b":2}'


def test_a_call_without_arguments_and_a_name_in_pieces_are_told() -> None:
    events = render_events(
        [
            [make_call(0, id="c1", name="get_")],
            [make_call(0, name="time")],
            [make_end("tool_calls")],
        ]
    )
    assert event_types(events)[2:5] == [
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert [event["item"]["name"] for event in events if "item" in event] == ["get_time"] * 2
