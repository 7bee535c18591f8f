"""A text divided into thinking and answer: tables, random cuts, hostile texts."""

import random
from itertools import pairwise

import pytest

from providers.filters import thinking_parser
from providers.filters.thinking_parser import ThinkingParser

DETAILS = '<details type="reasoning" done="true" duration="3">'
LONG = "x" * 17_000
LIMIT = thinking_parser.UNDECIDED_CHARS


def split_text(text: str, thinks: str, *cuts: int) -> tuple[str, str]:
    """(thinking, answer) of a text fed in pieces."""
    parser = ThinkingParser(is_implied=thinks == "implied")
    outputs = [
        parser.feed(text[start:end]) for start, end in pairwise([0, *sorted(cuts), len(text)])
    ]
    outputs.append(parser.feed("", is_last=True))
    thinking, answer = map("".join, zip(*outputs, strict=True))
    return thinking, answer


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
    ("<thinkings>a", "", "<thinkings>a"),
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
    (LONG, "", LONG),
    (LONG + "</think>b", LONG, "b"),
    ("a</think >b", "a", "b"),
    ("a</think", "", "a</think"),
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
    assert split_text(text, thinks) == (thought, answer)


def test_wherever_a_text_is_cut_the_result_is_the_same() -> None:
    draw = random.Random(3)
    for text, thought, answer, thinks in CASES:
        every_place = range(len(text)) if len(text) < 100 else draw.sample(range(len(text)), 20)
        for place in every_place:
            assert split_text(text, thinks, place) == (thought, answer)
        if len(text) < 1_000:
            assert split_text(text, thinks, *range(len(text))) == (thought, answer)


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
            whole = split_text(text, thinks)
            cuts = [draw.randrange(len(text) + 1) for _ in range(draw.randrange(1, 10))]
            assert split_text(text, thinks, *cuts) == whole, text
            assert split_text(text, thinks, *range(len(text))) == whole, text


def test_limits_are_met_at_the_same_place_however_the_text_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinking_parser, "UNDECIDED_CHARS", 12)
    monkeypatch.setattr(thinking_parser, "AFTER_ANSWER_CHARS", 5)
    draw = random.Random(12)
    words = ["<think>", "</think>", "<answer>", "</answer>", "a", "bc ", "\n"]
    for _ in range(1_500):
        text = "".join(draw.choices(words, k=draw.randrange(9)))
        cuts = [draw.randrange(len(text) + 1) for _ in range(draw.randrange(1, 10))]
        assert split_text(text, "implied", *cuts) == split_text(text, "implied"), text


def test_the_last_closing_tag_is_looked_for_in_a_bounded_tail() -> None:
    tail = "x" * thinking_parser.AFTER_ANSWER_CHARS
    assert split_text(f"<answer>a</answer>{tail}", "tagged") == ("", f"a{tail}")
    assert split_text(f"<answer>a</answer>{tail}x", "tagged") == ("", f"a</answer>{tail}x")


# --- what goes out when ---------------------------------------------------------------------------
def test_text_without_a_tag_is_not_held_when_thinking_is_tagged() -> None:
    parser = ThinkingParser(is_implied=False)
    assert [parser.feed(piece) for piece in ("Hel", "lo <th", "ink>")] == [
        ("", "Hel"),
        ("", "lo <th"),
        ("", "ink>"),
    ]


def test_thinking_and_answer_go_out_as_they_come_but_never_half_a_tag() -> None:
    parser = ThinkingParser(is_implied=False)
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
    outputs = [parser.feed(piece) for piece in pieces]
    assert outputs == [
        ("", ""),
        ("", ""),
        ("one ", ""),
        ("two ", ""),
        *[("", "")] * 5,
        ("", "three "),
        ("", "four"),
        ("", ""),
    ]
    assert parser.feed("", is_last=True) == ("", "")


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
    parser = ThinkingParser(is_implied=True)
    assert [parser.feed(piece) for piece in ("a", "b", "</think", ">c")] == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("ab", "c"),
    ]


def test_what_an_implied_text_holds_is_bounded() -> None:
    parser = ThinkingParser(is_implied=True)
    text = "x" * LIMIT
    assert parser.feed(text) == ("", "")
    assert parser.feed("</think>b") == (text, "b")
    parser = ThinkingParser(is_implied=True)
    assert parser.feed(text) == ("", "")
    assert parser.feed("y" * 100) == ("", text + "y" * 100)
    assert parser.feed("z</think>") == ("", "z</think>")


def test_a_long_undecided_text_takes_linear_time() -> None:
    pieces = ["x" * 4] * (LIMIT // 4)
    parser = ThinkingParser(is_implied=True)
    assert all(parser.feed(piece) == ("", "") for piece in pieces)
    assert parser.feed("", is_last=True) == ("", "x" * LIMIT)


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
    thought, answer = split_text(text, thinks)
    assert len(thought) + len(answer) <= 2 * len(text)
    pieces = start + unit * (5_000 // len(unit))
    assert split_text(pieces, thinks, *range(len(pieces))) == split_text(pieces, thinks)
