"""Snapshots that close their tags, fences and marks anew each time: nothing of them is lost."""

import json
import random
from collections.abc import Iterable

import pytest

from providers.tests.wire.test_snapshots import SHUT, joined, message, said, streamed

THOUGHT = "First <b>this</b>,\nthen `that`.\n"
ANSWER = "答案 is **bold** and `code`:\n```python\nprint(1)\nprint(2)\n```\nSo <i>much</i> for it."


def close_markdown(text: str) -> str:
    """Return the text as a renderer closes it: with the fence or the marks that are open."""
    if text.count("```") % 2:
        return f"{text}\n```"
    for mark in ("**", "`"):
        if text.replace("```", "").count(mark) % 2:
            return text + mark
    return text


def closed_snapshots(cuts: Iterable[int]) -> list[str]:
    """Return snapshots of thinking and answer, cut at these places and closed each time."""
    snapshots = []
    for cut in cuts:
        thought = THOUGHT[:cut]
        answer = ANSWER[: max(cut - len(THOUGHT), 0)]
        snapshots.append(f"{SHUT}{thought}</details>\n<answer>{close_markdown(answer)}</answer>")
    return snapshots


def draw_cuts(draw: random.Random) -> list[int]:
    whole = len(THOUGHT) + len(ANSWER)
    return [*sorted(draw.sample(range(1, whole), draw.randrange(1, 30))), whole]


def test_an_answer_whose_tags_close_anew_grows() -> None:
    opened = f"{SHUT}a\n</details>\n"
    parts = said(f"{opened}<answer>答</answer>", f"{opened}<answer>答案</answer>")
    assert joined(parts) == ("a", "\n<answer>答案</answer>")
    assert parts[0].answer == "\n<answer>答", "it does not wait for the end"


def test_a_fence_that_closes_anew_is_no_end() -> None:
    parts = said("```python\nprint(1)\n```", "```python\nprint(1)\nprint(2)\n```")
    assert joined(parts).answer == "```python\nprint(1)\nprint(2)\n```"


def test_thinking_grows_while_an_empty_answer_stands_behind_it() -> None:
    parts = said(
        f"{SHUT}a</details>\n<answer></answer>",
        f"{SHUT}a b</details>\n<answer></answer>",
        f"{SHUT}a b c</details>\n<answer>d</answer>",
    )
    assert joined(parts) == ("a b c", "\n<answer>d</answer>")


def test_text_before_marks_that_are_not_known_as_closing_comes_too() -> None:
    parts = said("He says “Hi”", "He says “Hi there”", "He says “Hi there”.")
    assert joined(parts).answer == "He says “Hi” there”."


def test_an_older_snapshot_brings_nothing_twice_though_it_repeats_itself() -> None:
    assert joined(said("abab" * 9, "abab" * 6, "abab" * 9 + "c")).answer == "abab" * 9 + "c"


def test_however_they_are_cut_closed_snapshots_lose_nothing() -> None:
    draw = random.Random(7)
    for _ in range(400):
        parts = said(*closed_snapshots(draw_cuts(draw)))
        assert joined(parts) == (THOUGHT.strip("\n"), f"\n<answer>{ANSWER}</answer>")


def test_callers_get_all_of_them_with_their_end() -> None:
    draw = random.Random(8)
    for _ in range(50):
        snapshots = closed_snapshots(draw_cuts(draw))
        events = [*(json.dumps({"content": text}) for text in snapshots), "[DONE]"]
        data = "".join(f"data: {event}\n\n" for event in events).encode()
        cuts = sorted(draw.randrange(len(data)) for _ in range(5))
        pieces = [
            data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        ]
        answer, reason, _ = message(streamed(pieces))
        assert (answer["reasoning_content"], answer["content"], reason) == (
            THOUGHT.strip("\n"),
            ANSWER,
            "stop",
        )


@pytest.mark.parametrize("unit", ["`", "**", "</b>", "</", "_ ", "</a "])
def test_many_marks_take_no_time(unit: str) -> None:
    """Backtracking over them would take for ever, and the time limit of a test ends it."""
    text = unit * 20_000
    assert joined(said("x" + text, "xy" + text + "!")).answer.startswith("x")
