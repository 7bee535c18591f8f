"""Thinking taken out of the text, and thinking shown: tables, random cuts, hostile texts, whole
chunks.
"""

import copy
import random
from itertools import pairwise
from typing import Any

import pytest

from providers import filters
from providers.filters import thinking
from providers.filters.filter_pipeline import Filter, fold_answer
from providers.filters.thinking import ThinkingParser, ThinkingRenderer, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.request import CHAT, COMPLETIONS, ChatRequest, UpstreamModel

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DETAILS = '<details type="reasoning" done="true" duration="3">'
LONG = "x" * (thinking.IMPLIED_CHARS + 1)


def split(text: str, thinks: str, *cuts: int) -> tuple[str, str]:
    """(thinking, answer) of a text fed in pieces."""
    one, said = ThinkingParser(is_implied=thinks == "implied"), ["", ""]
    places = [0, *sorted(cuts), len(text)]
    for start, end in pairwise(places):
        for at, part in enumerate(one.feed(text[start:end])):
            said[at] += part
    for at, part in enumerate(one.feed("", is_last=True)):
        said[at] += part
    return said[0], said[1]


# --- the forms ------------------------------------------------------------------------------------
BOTH = [  # text, thinking, answer: whatever the model is said to do
    ("", "", ""),
    ("Hi.", "", "Hi."),
    ("\n  Hi.\n", "", "\n  Hi.\n"),
    ("<think>a</think>b", "a", "b"),
    ("<think>\na\n</think>\n\nb\n", "a\n", "b\n"),
    ('<think duration="12">a</think>b', "a", "b"),
    ("  \n<think>a</think>b", "a", "b"),
    ("<think>a</think>", "a", ""),
    ("<think>a</think>\n\n    code", "a", "    code"),
    ("<think>a</think><answer>b</answer>", "a", "b"),
    ("<think>a</think>\n<answer>\nb\n</answer>\n", "a", "b\n"),
    ("<think>a</think> \n <answer>b</answer>", "a", "b"),
    ("<answer>b</answer>", "", "b"),
    ("<answer>b</answer> c </answer> d", "", "b</answer> c  d"),
    ("<answer>b<answer>c</answer></answer>", "", "b<answer>c</answer>"),
    ("<think>a</think>b</answer>\n", "a", "b"),
    ("<think>a</think>b</answer> c", "a", "b</answer> c"),
    (
        f"{DETAILS}<summary>Thought for 3 seconds</summary>\na</details>\n<answer>b</answer>",
        "a",
        "b",
    ),
    (f"{DETAILS}\n<summary>Thought</summary>\na\n</details>b", "a\n", "b"),
    (f"{DETAILS}a</details>b", "a", "b"),
    (f"{DETAILS}<summary>never closed", "<summary>never closed", ""),
    ("<details type='reasoning'>a</details>b", "a", "b"),
    ("<think>a</think><think>b</think>c", "a\n\nb", "c"),
    (f"{DETAILS}a</details></think>c", "a", "c"),
    ("<think></think>b", "", "b"),
    ("<think>never closed", "never closed", ""),
    ("<think>a</thinkb", "a</thinkb", ""),
    ("<think>a <think> b</think>c", "a <think> b", "c"),
    ("<think>a</think>Write `<think>b</think>` first.", "a", "Write `<think>b</think>` first."),
    ("<think>a</think>```\n<think>\n</think>\n```", "a", "```\n<think>\n</think>\n```"),
    # only like a tag
    ("<thinking>a", "", "<thinking>a"),
    ("<thin", "", "<thin"),
    ("<", "", "<"),
    ("< think>a", "", "< think>a"),
    ("<think about it", "", "<think about it"),
    ("<think <b>a</b>", "", "<think <b>a</b>"),
    ("<think\n>a", "", "<think\n>a"),
    ("<think " + "x" * 600 + ">a", "", "<think " + "x" * 600 + ">a"),
    (
        "<details><summary>More</summary>a</details>b",
        "",
        "<details><summary>More</summary>a</details>b",
    ),
    ("<details open>", "", "<details open>"),
    (" " * 256 + "<think>a</think>b", "a", "b"),
    (" " * 257 + "<think>a", "", " " * 257 + "<think>a"),
    ("a </answer>", "", "a </answer>"),
]
TAGGED = [
    ("a</think>b", "", "a</think>b"),
    ("</think>b", "", "</think>b"),
    ("Write <think>a</think>.", "", "Write <think>a</think>."),
    (LONG, "", LONG),
]
IMPLIED = [
    ("a</think>b", "a", "b"),
    ("\na\n</think>\n\n<answer>b</answer>", "a\n", "b"),
    ("a</think>b</think>c", "a", "b</think>c"),
    ("</think>b", "", "b"),
    ("<b>a</b></think>b", "<b>a</b>", "b"),
    (LONG, LONG, ""),
    (LONG + "</think>b", LONG, "b"),
    (LONG[1:], "", LONG[1:]),
]
CASES = [(*case, thinks) for case in BOTH for thinks in ("tagged", "implied")]
CASES += [(*case, "tagged") for case in TAGGED] + [(*case, "implied") for case in IMPLIED]


@pytest.mark.parametrize(
    ("text", "thought", "answer", "thinks"),
    CASES,
    ids=lambda value: ascii(value)[:40] if value else "-",
)
def test_a_text_is_its_thinking_and_its_answer(
    text: str, thought: str, answer: str, thinks: str
) -> None:
    assert split(text, thinks) == (thought, answer)


def test_wherever_a_text_is_cut_the_result_is_the_same() -> None:
    draw = random.Random(3)
    for text, thought, answer, thinks in CASES:
        every_place = range(len(text)) if len(text) < 100 else draw.sample(range(len(text)), 20)
        for place in every_place:
            assert split(text, thinks, place) == (thought, answer)
        if len(text) < 1_000:
            assert split(text, thinks, *range(len(text))) == (thought, answer)


def test_random_texts_of_tags_come_out_the_same_however_they_are_cut() -> None:
    draw = random.Random(11)
    words = [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        DETAILS,
        "</details>",
        "<summary>",
        "</summary>",
    ]
    words += [
        "<",
        ">",
        "</",
        "<think",
        "<think a>",
        "\n",
        " ",
        "a",
        "b ",
        "`<think>`",
        "<details>",
        " " * 100,
    ]
    for _ in range(1_500):
        text = "".join(draw.choices(words, k=draw.randrange(12)))
        for thinks in ("tagged", "implied"):
            whole = split(text, thinks)
            cuts = [draw.randrange(len(text) + 1) for _ in range(draw.randrange(1, 10))]
            assert split(text, thinks, *cuts) == whole, text
            assert split(text, thinks, *range(len(text))) == whole, text


def test_limits_are_met_at_the_same_place_however_the_text_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinking, "IMPLIED_CHARS", 12)
    monkeypatch.setattr(thinking, "AFTER_ANSWER_CHARS", 5)
    draw = random.Random(12)
    words = ["<think>", "</think>", "<answer>", "</answer>", "a", "bc ", "\n"]
    for _ in range(1_500):
        text = "".join(draw.choices(words, k=draw.randrange(9)))
        cuts = [draw.randrange(len(text) + 1) for _ in range(draw.randrange(1, 10))]
        assert split(text, "implied", *cuts) == split(text, "implied"), text


def test_the_last_closing_tag_is_looked_for_in_a_bounded_tail() -> None:
    tail = "x" * thinking.AFTER_ANSWER_CHARS
    assert split(f"<answer>a</answer>{tail}", "tagged") == ("", f"a{tail}")
    assert split(f"<answer>a</answer>{tail}x", "tagged") == ("", f"a</answer>{tail}x")


# --- what goes out when ---------------------------------------------------------------------------
def test_text_without_a_tag_is_not_held_when_thinking_is_tagged() -> None:
    one = ThinkingParser(is_implied=False)
    assert [one.feed(piece) for piece in ("Hel", "lo <th", "ink>")] == [
        ("", "Hel"),
        ("", "lo <th"),
        ("", "ink>"),
    ]


def test_thinking_and_answer_go_out_as_they_come_but_never_half_a_tag() -> None:
    one = ThinkingParser(is_implied=False)
    pieces = [
        "<th",
        "ink>",
        "one ",
        "two <",
        "/thi",
        "nk",
        ">",
        "\n<ans",
        "wer>",
        "three ",
        "four</an",
        "swer>",
    ]
    said = [one.feed(piece) for piece in pieces]
    assert said == [
        *[("", "")] * 2,
        *[("one ", ""), ("two ", "")],
        *[("", "")] * 5,
        *[("", "three "), ("", "four"), ("", "")],
    ]
    assert one.feed("", is_last=True) == ("", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think " + "x" * 600, ("", "<think " + "x" * 600)),
        (" " * 257, ("", " " * 257)),
        (f"{DETAILS}<summary>" + "x" * 1_100, ("<summary>" + "x" * 1_100, "")),
        (f"{DETAILS}<summary>" + "x" * 900, ("", "")),
    ],
    ids=["tag", "space", "summary", "summary still short"],
)
def test_what_never_becomes_a_tag_is_not_held_for_ever(
    text: str, expected: tuple[str, str]
) -> None:
    assert ThinkingParser(is_implied=False).feed(text) == expected


def test_an_implied_text_is_held_until_it_is_decided() -> None:
    one = ThinkingParser(is_implied=True)
    assert [one.feed(piece) for piece in ("a", "b", "</think", ">c")] == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("ab", "c"),
    ]


def test_what_an_implied_text_holds_is_bounded() -> None:
    one = ThinkingParser(is_implied=True)
    assert one.feed(LONG[1:]) == ("", "")
    assert one.feed("x") == (LONG, "")
    assert one.feed("y") == ("y", "")


@pytest.mark.parametrize(
    ("start", "thinks"), [("", "implied"), ("<think>", "tagged"), ("<answer>", "tagged")]
)
@pytest.mark.parametrize(
    "unit",
    [
        "<think",
        "<",
        "</",
        "</answer>",
        "<think></think>",
        "<answer>",
        "\n",
        "</think>",
        f"{DETAILS}</details>",
        "x<",
    ],
)
def test_a_megabyte_of_beginnings_takes_no_time(unit: str, start: str, thinks: str) -> None:
    """Quadratic work would take minutes here, and the time limit of a test ends it."""
    text = start + unit * (1_000_000 // len(unit))
    thought, answer = split(text, thinks)
    assert len(thought) + len(answer) <= 2 * len(text)
    pieces = start + unit * (5_000 // len(unit))
    assert split(pieces, thinks, *range(len(pieces))) == split(pieces, thinks)


# --- chunks ---------------------------------------------------------------------------------------
def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **more}


def passed(chunks: list[Chunk], *steps: Filter) -> list[Chunk]:
    out = copy.deepcopy(chunks)
    for step in steps:
        out = step.filter_chunks(out)
    return out


def deltas(chunks: list[Chunk]) -> list[Any]:
    return [choice["delta"] for one in chunks for choice in one["choices"]]


def test_thinking_and_answer_of_one_chunk_become_two_with_role_first_and_finish_last() -> None:
    said = {"role": "assistant", "content": "<think>a</think>b"}
    out = passed([chunk(said, "stop", usage={"total_tokens": 3})], ThinkingSplitter("tagged"))
    assert deltas(out) == [
        {"role": "assistant", "content": None, "reasoning_content": "a"},
        {"content": "b"},
    ]
    assert [one["choices"][0]["finish_reason"] for one in out] == [None, "stop"]
    assert ["usage" in one for one in out] == [False, True]
    assert all(HEAD.items() <= one.items() for one in out)


def test_what_was_held_goes_out_before_the_finish_reason() -> None:
    for last in (
        chunk({}, "stop"),
        chunk({"content": None}, "length"),
        chunk({"content": ""}, "stop"),
    ):
        out = passed(
            [chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}), last],
            *implied(),
        )
        assert deltas(out) == [{"role": "assistant", "content": None}, {"content": "Hello"}]
        assert out[-1]["choices"][0]["finish_reason"]
    out = passed([chunk({"content": "<think>a</th"}), chunk({}, "length")], *implied())
    assert deltas(out) == [{"reasoning_content": "a"}, {"reasoning_content": "</th"}, {}]


def implied() -> list[Filter]:
    return [ThinkingSplitter("implied")]


def test_chunks_that_say_nothing_any_more_are_dropped_and_others_stay_as_they_are() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    others = [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [call]}),
        chunk({"refusal": "no"}),
        {**HEAD, "choices": [], "usage": {"total_tokens": 1}},
    ]
    assert passed(others, *implied()) == others
    assert passed([chunk({"content": "held"})], *implied()) == []
    kept = passed([chunk({"content": "held"}, usage={"total_tokens": 1})], *implied())
    assert [(one["choices"], one["usage"]) for one in kept] == [([], {"total_tokens": 1})]


def test_text_beside_a_tool_call_leaves_the_call_where_it_is() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    out = passed(
        [chunk({"content": "a</think>b", "tool_calls": [call]}), chunk({}, "tool_calls")],
        *implied(),
    )
    assert deltas(out) == [{"reasoning_content": "a"}, {"tool_calls": [call], "content": "b"}, {}]


def test_each_choice_is_split_by_itself() -> None:
    out = passed(
        [
            {
                **HEAD,
                "choices": [
                    chunk({"content": text}, index=at)["choices"][0]
                    for at, text in enumerate(texts)
                ],
            }
            for texts in (("<think>a", "b"), ("</think>c", "d"))
        ]
        + [chunk({}, "stop", index=1), chunk({}, "stop")],
        *implied(),
    )
    messages = [
        (choice["message"].get("reasoning_content"), choice["message"]["content"])
        for choice in folded(out)
    ]
    assert messages == [("a", "c"), (None, "bd")]


def folded(chunks: list[Chunk]) -> list[Any]:
    choices: list[Any] = fold_answer(copy.deepcopy(chunks))["choices"]
    return choices


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_an_upstream_that_separates_after_all_is_believed(field: str) -> None:
    out = passed(
        [chunk({field: "a"}), chunk({"content": "b"}), chunk({"content": "c"}, "stop")], *implied()
    )
    assert deltas(out) == [{field: "a"}, {"content": "b"}, {"content": "c"}]
    out = passed(
        [chunk({field: "a"}), chunk({"content": "<answer>b</answer>"}, "stop")], *implied()
    )
    assert deltas(out) == [{field: "a"}, {"content": "b"}]


def test_content_that_is_no_text_passes() -> None:
    for odd in ([{"type": "text", "text": "a"}], 5, True):
        out = passed(
            [chunk({"content": odd}), chunk({"content": odd}, "stop")],
            *implied(),
            ThinkingRenderer("inline"),
        )
        assert deltas(out) == [{"content": odd}] * 2


# --- what callers get -----------------------------------------------------------------------------
def shown(how: str, *said: Chunk) -> str:
    return "".join(
        delta.get("content") or "" for delta in deltas(passed([*said], ThinkingRenderer(how)))
    )


THOUGHT = [chunk({"role": "assistant", "content": None}), chunk({"reasoning_content": "a"})]
THOUGHT += [
    chunk({"reasoning_content": "b"}),
    chunk({"content": "c"}),
    chunk({"content": "d"}),
    chunk({}, "stop"),
]


def test_inline_thinking_stands_between_its_tags_before_the_answer() -> None:
    out = passed(THOUGHT, ThinkingRenderer("inline"))
    assert [delta.get("content") for delta in deltas(out)] == [
        None,
        "<think>a",
        "b",
        "</think>\n\nc",
        "d",
        None,
    ]
    assert not any("reasoning_content" in delta for delta in deltas(out))


def test_inline_thinking_is_closed_whatever_follows_it() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert shown("inline", chunk({"reasoning": "a"}), chunk({}, "length")) == "<think>a</think>"
    assert shown("inline", chunk({"reasoning": "a"}, "stop")) == "<think>a</think>"
    assert (
        shown("inline", chunk({"reasoning": "a", "content": "b"}, "stop"))
        == "<think>a</think>\n\nb"
    )
    calls = [chunk({"reasoning": "a"}), chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]
    out = deltas(passed(calls, ThinkingRenderer("inline")))
    assert out == [{"content": "<think>a"}, {"tool_calls": [call], "content": "</think>"}, {}]
    assert shown("inline", chunk({"content": "b"}, "stop")) == "b"


def test_thinking_between_texts_is_inline_where_it_stood() -> None:
    said = [
        chunk({name: text})
        for name, text in (("content", "a"), ("reasoning_content", "b"), ("content", "c"))
    ]
    assert shown("inline", *said, chunk({}, "stop")) == "a<think>b</think>\n\nc"


def test_inline_thinking_that_comes_in_two_fields_is_shown_once() -> None:
    both = {"reasoning_content": "a", "reasoning": "a", "reasoning_details": [{"text": "a"}]}
    out = passed([chunk(both), chunk({"content": "b"}, "stop")], ThinkingRenderer("inline"))
    assert deltas(out) == [{"content": "<think>a"}, {"content": "</think>\n\nb"}]


def test_hidden_thinking_does_not_come_at_all() -> None:
    said = [
        chunk({name: "secret"}) for name in ("reasoning_content", "reasoning", "reasoning_details")
    ]
    out = passed([*THOUGHT, *said], ThinkingRenderer("hidden"))
    assert deltas(out) == [
        {"role": "assistant", "content": None},
        {"content": "c"},
        {"content": "d"},
        {},
    ]
    assert (
        passed([chunk({"reasoning": "a"}, usage={"total_tokens": 1})], ThinkingRenderer("hidden"))[
            0
        ]["choices"]
        == []
    )


def test_thinking_as_reasoning_comes_as_it_is() -> None:
    assert passed(THOUGHT, ThinkingRenderer("reasoning")) == THOUGHT


# --- which filters a model needs ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("thinks", "thinking_", "expected"),
    [
        ("separate", "reasoning", []),
        ("separate", "inline", [ThinkingRenderer]),
        ("separate", "hidden", [ThinkingRenderer]),
        ("tagged", "reasoning", [ThinkingSplitter]),
        ("implied", "hidden", [ThinkingSplitter, ThinkingRenderer]),
    ],
)
def test_a_model_gets_the_filters_that_its_thinking_needs(
    thinks: str, thinking_: str, expected: list[type]
) -> None:
    model = UpstreamModel("u", thinks=thinks, thinking=thinking_)
    for endpoint, wanted in ((CHAT, expected), (COMPLETIONS, [])):
        request = ChatRequest("1", endpoint, "m", {"model": "m", "messages": []})
        assert [
            type(step) for step in filters.choose_filters(request, model, Attempt("p", "m"))
        ] == wanted
