"""The events of texts, refusals, citations and log probabilities."""

import pytest

from api.tests.responses.output.rendered_events import (
    CITATION,
    LOGPROB,
    REQUEST,
    event_types,
    make_end,
    render_events,
)
from providers.protocol.chunks import make_delta


def test_a_refusal_is_told_as_one() -> None:
    events = render_events(
        [[make_delta(REQUEST, refusal="I ")], [make_delta(REQUEST, refusal="won't"), make_end()]]
    )
    assert event_types(events)[3:8] == [
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
    events = render_events(
        [
            [make_delta(REQUEST, **{first: "a"})],
            [make_delta(REQUEST, **{second: "b"})],
            [make_end()],
        ]
    )
    [message] = events[-1]["response"]["output"]
    kinds = {"content": "output_text", "refusal": "refusal"}
    assert [part["type"] for part in message["content"]] == [kinds[first], kinds[second]]
    done = [event for event in events if event["type"] == "response.content_part.done"]
    assert [event["part"] for event in done] == message["content"]
    assert [event["content_index"] for event in done] == [0, 1]


def test_citations_are_told_and_flat() -> None:
    events = render_events(
        [
            [make_delta(REQUEST, content="so")],
            [make_delta(REQUEST, annotations=[CITATION, {"type": "odd"}])],
            [make_end()],
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
    chunk["choices"][0]["logprobs"] = {"content": [LOGPROB]}
    events = render_events(
        [[chunk], [make_delta(REQUEST, content="!")], [make_end()]], top_logprobs=1
    )
    first, second = [event for event in events if event["type"] == "response.output_text.delta"]
    assert (first["logprobs"][0]["token"], first["logprobs"][0]["logprob"]) == ("hé", -0.5)
    assert second["logprobs"] == []
    [entry] = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert entry["bytes"] == list("hé".encode())
    assert entry["top_logprobs"] == [{"token": "x", "logprob": -1, "bytes": [120]}]
