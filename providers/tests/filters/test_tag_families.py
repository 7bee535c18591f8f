"""Every family of tags around thinking: whole, cut anywhere, and only where it opens an answer."""

import random
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from django.conf import settings

from providers.filters.thinking_parser import ThinkingParser
from providers.protocol.dialect import ThinkingTags
from providers.wire.tag_families import ALL_TAGS, TAG_FAMILIES

FINAL = "<|start|>assistant<|channel|>final<|message|>"
# family, text; the thinking is "one two", the answer "three"
FORMS = [
    ("think", "<think>one two</think>three"),
    ("think", "<think>\none two</think >\n\nthree"),
    ("think", "<think>one two</think\n>three"),
    ("think", "\n<think time='3'>one two</think>\n<answer>three</answer>"),
    ("thinking", "<thinking>one two</thinking>three"),
    ("thinking", "<thinking>\none two</thinking >\nthree"),
    ("thought", "<thought>one two</thought>\n\nthree"),
    ("reasoning", "<reasoning>one two</reasoning>\n<answer>three</answer>\n"),
    ("kimi-vl", "◁think▷one two◁/think▷three"),
    ("mistral", "[THINK]one two[/THINK]three"),
    (
        "begin_of_thought",
        "<|begin_of_thought|>\none two<|end_of_thought|>\n\n"
        "<|begin_of_solution|>\nthree<|end_of_solution|>",
    ),
    ("begin_of_thought", "<|begin_of_thought|>one two<|end_of_thought|>three"),
    ("minimax", "<mm:think>one two</mm:think>three"),
    ("cohere", "<|START_THINKING|>one two<|END_THINKING|><|START_RESPONSE|>three<|END_RESPONSE|>"),
    ("cohere", "<|START_THINKING|>one two<|END_THINKING|><|START_TEXT|>three<|END_TEXT|>"),
    ("harmony", f"<|channel|>analysis<|message|>one two<|end|>{FINAL}three<|return|>"),
    ("harmony", f"<|channel|>analysis<|message|>one two<|end|>{FINAL}three"),
    (
        "harmony",
        "<|start|>assistant<|channel|>analysis<|message|>one two<|end|>"
        "<|channel|>final<|message|>three<|end|>",
    ),
]
PLAIN = [
    "[THIN",
    "◁think",
    "<thinkers>a</thinkers>",
    "Use [THINK] and [/THINK], or <thinking>a</thinking>.",
    "<|channel|>commentary<|message|>a",
    "<reasons>a</reasons>",
]


def split_text(text: str, *cuts: int, family: str = "", is_implied: bool = False) -> list[str]:
    """Return thinking and answer of a text that comes in pieces."""
    parser = ThinkingParser(is_implied=is_implied, tag_family=family)
    places = [0, *sorted(cuts), len(text)]
    outputs = [parser.feed(text[start:end]) for start, end in pairwise(places)]
    outputs.append(parser.feed("", is_last=True))
    return ["".join(parts) for parts in zip(*outputs, strict=True)]


@pytest.mark.parametrize(("family", "text"), FORMS)
@pytest.mark.parametrize("is_implied", [False, True], ids=["tagged", "implied"])
def test_thinking_is_split_off_whichever_tags_it_has(
    family: str, text: str, is_implied: bool
) -> None:
    for name in ("", family):
        assert split_text(text, family=name, is_implied=is_implied) == ["one two", "three"]


@pytest.mark.parametrize(("family", "text"), FORMS)
def test_wherever_the_text_is_cut_the_result_is_the_same(family: str, text: str) -> None:
    draw = random.Random(4)
    for place in range(len(text)):
        assert split_text(text, place) == ["one two", "three"]
    for _ in range(100):
        cuts = draw.sample(range(len(text)), 4)
        assert split_text(text, *cuts, is_implied=True) == ["one two", "three"]
    assert split_text(text, *range(len(text))) == ["one two", "three"]


@pytest.mark.parametrize("text", PLAIN)
def test_tags_that_open_no_answer_are_text(text: str) -> None:
    assert split_text(text) == ["", text]
    assert split_text(text, *range(len(text))) == ["", text]


@pytest.mark.parametrize(("family", "text"), FORMS)
def test_a_named_family_is_the_only_one(family: str, text: str) -> None:
    others = {"mistral", "kimi-vl"} - {family}
    for other in others:
        assert split_text(text, family=other) == ["", text]


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("thinking", "one two</thinking>three"),
        ("kimi-vl", "one two◁/think▷three"),
        ("mistral", "one two[/THINK]three"),
        ("", "one two</think >three"),
    ],
)
def test_the_opening_tag_of_the_named_family_may_be_missing(family: str, text: str) -> None:
    assert split_text(text, family=family, is_implied=True) == ["one two", "three"]
    for place in range(len(text)):
        parts = split_text(text, place, family=family, is_implied=True)
        assert parts == ["one two", "three"]


def test_thinking_streams_whichever_tags_it_has() -> None:
    for _, text in FORMS:
        start = text.index("one")
        parser = ThinkingParser(is_implied=True)
        assert parser.feed(text[: start + 4]) == ("one ", "")


def test_each_text_that_may_be_a_tag_is_decided_by_its_first_characters() -> None:
    longest = max(len(tag.text) for tag in ALL_TAGS)
    for tag in ALL_TAGS:
        text = tag.text[:-1] + "~" * longest
        assert ThinkingParser(is_implied=False).feed(text) == ("", text)


def test_dialects_and_their_page_name_every_family() -> None:
    assert set(get_args(ThinkingTags)) == {"", *TAG_FAMILIES}
    page = (Path(settings.BASE_DIR) / "docs" / "dialects.md").read_text()
    for name in TAG_FAMILIES:
        assert f"\n| {name} | " in page
