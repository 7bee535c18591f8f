"""The events of thinking, raw or as a summary."""

from api.tests.responses.output.rendered_events import (
    REQUEST,
    event_types,
    join_deltas,
    make_end,
    render_events,
)
from providers.protocol.chunks import make_delta


def test_thinking_is_told_raw_and_closed_before_the_words_begin() -> None:
    batches = [[make_delta(REQUEST, reasoning_content=text)] for text in ("I ", "think")]
    events = render_events([*batches, [make_delta(REQUEST, content="so"), make_end()]])
    assert event_types(events)[2:9] == [
        *(
            "output_item.added",
            "content_part.added",
            "reasoning_text.delta",
            "reasoning_text.delta",
        ),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
    ]
    assert join_deltas(events, "reasoning_text") == "I think"
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
        [make_end()],
    ]
    events = render_events(batches, reasoning={"summary": "auto"})
    assert event_types(events)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    [thought] = events[-1]["response"]["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "I think"}]
    assert "content" not in thought
