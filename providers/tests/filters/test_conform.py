"""The chunks of a stream conform to OpenAI's official schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.filters.conform import StreamConformer
from providers.filters.finish_reasons import FINISH_REASONS, normalize_finish_reason
from providers.protocol.chunks import Chunk
from providers.tests.filters.conforming import (
    FAST,
    JUNK,
    conform_deltas,
    conform_stream,
    join_message,
    make_chunk,
)


# --- finish reasons -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *(
            (reason, reason)
            for reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
        ),
        *(
            (reason, "stop")
            for reason in ("eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "STOP")
        ),
        *(
            (reason, "length")
            for reason in ("max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")
        ),
        *((reason, "length") for reason in ("pause_turn", "LENGTH")),
        *((reason, "tool_calls") for reason in ("tool_use", "tool_call", "TOOL_CALLS")),
        *(
            (reason, "content_filter")
            for reason in ("SAFETY", "safety", "refusal", "sensitive", "CONTENT_FILTER")
        ),
        *((nothing, None) for nothing in (None, "", 0, 7, False, True, [], {})),
    ],
)
def test_a_finish_reason_is_one_of_openais_or_none(reason: Any, expected: str | None) -> None:
    assert normalize_finish_reason(reason) == expected


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", "abort"])
def test_a_reason_that_says_the_answer_was_cut_is_never_stop(reason: str) -> None:
    assert (
        normalize_finish_reason(reason) != "stop"
    )  # DeepSeek, OpenRouter, vLLM: what was cut never looks finished


def test_a_choice_finishes_once_and_what_comes_after_is_dropped() -> None:
    out = conform_stream(
        [
            make_chunk({"content": "a"}),
            make_chunk({}, "stop"),
            make_chunk({}, "length"),
            make_chunk({"content": "late"}),
        ]
    )
    assert [chunk["choices"][0]["finish_reason"] for chunk in out] == [None, "stop"]


def test_usage_that_comes_with_a_second_finish_is_kept() -> None:
    last = conform_stream(
        [make_chunk({}, "stop"), make_chunk({}, "stop", usage={"prompt_tokens": 3})]
    )[-1]
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3}


@pytest.mark.parametrize(
    "nothing", [{}, {"choices": []}, {"choices": None}, {"choices": [], "usage": None}]
)
def test_a_chunk_that_says_nothing_is_dropped(nothing: Chunk) -> None:
    assert conform_stream([nothing]) == []


@pytest.mark.parametrize("choices", [{}, {"choices": None}, {"choices": []}])
def test_a_chunk_that_has_only_usage_gets_an_empty_list_of_choices(choices: Chunk) -> None:
    assert conform_stream([{**choices, "usage": {"prompt_tokens": 1}}]) == [
        {"choices": [], "usage": {"prompt_tokens": 1}}
    ]


def test_an_answer_has_finished_when_every_choice_that_began_has() -> None:
    conformer = StreamConformer()
    assert not conformer.is_finished
    conformer.conform_chunk(make_chunk({"content": "a"}, index=0))
    conformer.conform_chunk(make_chunk({"content": "b"}, index=1))
    conformer.conform_chunk(make_chunk({}, "stop", index=1))
    assert not conformer.is_finished
    conformer.conform_chunk(make_chunk({}, "stop", index=0))
    assert conformer.is_finished


# --- roles and unknown fields ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "first", [{"content": "a"}, {"role": None, "content": "a"}, {"role": "", "content": "a"}]
)
def test_the_first_delta_has_the_role(first: dict[str, Any]) -> None:
    assert conform_deltas([make_chunk(first)]) == [{"role": "assistant", "content": "a"}]


def test_a_role_that_the_upstream_gave_stays_and_each_choice_has_its_own() -> None:
    found = conform_deltas(
        [
            make_chunk({"role": "assistant", "content": ""}),
            make_chunk({"content": "b"}, index=1),
            make_chunk({"content": "c"}),
        ]
    )
    assert found == [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "b"},
        {"content": "c"},
    ]


def test_a_role_in_every_delta_does_not_add_up_in_openais_client() -> None:
    out = conform_stream(
        [make_chunk({"role": "assistant", "content": text}) for text in ("a", "b")]
        + [make_chunk({}, "stop")]
    )
    message = join_message(out)
    assert (message.role, message.content) == ("assistant", "ab")


@pytest.mark.parametrize("delta", [None, [], "text", 7])
def test_a_delta_that_is_no_object_becomes_one(delta: Any) -> None:
    assert conform_deltas([make_chunk(delta)]) == [{"role": "assistant", "content": None}]


@pytest.mark.parametrize("index", [None, "0", 0.0, []])
def test_a_choice_without_a_usable_index_is_the_first(index: Any) -> None:
    assert (
        conform_stream([make_chunk({"content": "a"}, index=index)])[0]["choices"][0]["index"] == 0
    )


def test_fields_it_does_not_know_travel_through_untouched() -> None:
    odd = make_chunk(
        {"role": "assistant", "content": "a", "reasoning_content": "r", "x": [1]},
        vendor={"y": None},
        id="u",
    )
    odd["choices"][0] |= {"logprobs": {"content": []}, "z": 1}
    assert conform_stream([odd]) == [odd]


def test_a_legacy_completion_keeps_its_text_and_gets_no_delta() -> None:
    choice = {"index": 0, "text": "a", "logprobs": None, "finish_reason": "eos"}
    assert StreamConformer(is_chat=False).conform_chunk({"choices": [choice]}) == {
        "choices": [{**choice, "finish_reason": "stop"}]
    }


# --- whatever an upstream sends -------------------------------------------------------------------
@FAST
@given(
    st.lists(
        st.fixed_dictionaries({"choices": JUNK | st.lists(JUNK)}, optional={"usage": JUNK}),
        max_size=4,
    )
)
def test_any_object_is_conformed_or_dropped(chunks: list[Chunk]) -> None:
    opened = set()
    for out in conform_stream(chunks):
        for choice in out["choices"]:
            assert isinstance(choice["index"], int)
            assert choice["finish_reason"] in (None, *FINISH_REASONS)
            if choice["index"] not in opened:
                assert choice["delta"]["role"]
            opened.add(choice["index"])
