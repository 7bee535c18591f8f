"""Snapshots of a text as what is new, and whole recorded streams of K2-Think's site, cut
anywhere.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.filters import choose_filters
from providers.filters.answer_folder import fold_answer
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.upstream.stream_reader import DialectReader
from providers.wire.k2think_dialect import K2ThinkAnswer
from providers.wire.snapshots import NewText, SnapshotReader
from providers.wire.sse import EventSplitter

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=150)
# ways in which all transcripts together are cut; each byte by itself is a test of its own
CUTS = 1_000
TRANSCRIPTS = sorted((Path(__file__).parents[1] / "transcripts" / "k2think_web").glob("*.sse"))
OPEN = '<details type="reasoning" done="false">\n<summary>Thinking…</summary>\n'
SHUT = (
    '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 '
    "seconds</summary>\n"
)


def said(*snapshots: str) -> list[NewText]:
    """What each snapshot brought, and last what closing brought."""
    text = SnapshotReader()
    return [*(text.read_snapshot(snapshot) for snapshot in snapshots), text.finish_text()]


def joined(parts: Iterable[NewText]) -> NewText:
    parts = list(parts)
    return NewText("".join(part.thinking for part in parts), "".join(part.answer for part in parts))


# --- plain text -----------------------------------------------------------------------------------
def test_only_what_is_new_comes() -> None:
    assert said("Hel", "Hello", "Hello", "Hello you") == [
        ("", "Hel"),
        ("", "lo"),
        ("", ""),
        ("", " you"),
        ("", ""),
    ]


def test_an_older_snapshot_takes_nothing_back_and_brings_nothing_twice() -> None:
    assert joined(said("Hello", "Hel", "", "Hello you", "Hello", "Hello you!")) == (
        "",
        "Hello you!",
    )


def test_a_rewritten_text_goes_on_behind_what_was_sent() -> None:
    before, after = "One & two; that is what was said", "One &amp; two; that is what was said"
    assert [part.answer for part in said(before, after, after + " so far", after + " so far.")] == [
        before,
        "",
        " so far",
        ".",
        "",
    ]


def test_a_phrase_that_comes_again_is_not_taken_for_the_end_of_what_was_sent() -> None:
    phrase = "and so on and so on, "
    assert joined(
        said("1 " + phrase + "2 " + phrase, "1 " + phrase + "b " + phrase + "!")
    ).answer == ("1 " + phrase + "2 " + phrase + "!")


def test_a_text_that_became_another_waits_and_at_the_end_what_is_longer_comes() -> None:
    assert [part.answer for part in said("abc", "xyz", "xyz12", "xyz123")] == [
        "abc",
        "",
        "",
        "",
        "123",
    ]
    assert [part.answer for part in said("abc", "xyz", "abcd", "abcde")] == [
        "abc",
        "",
        "d",
        "e",
        "",
    ]


def test_a_character_cut_in_two_waits_for_its_other_half() -> None:
    assert [part.answer for part in said("a\ud83d", "a🙂", "a🙂b")] == ["a", "🙂", "b", ""]


# --- blocks of thinking ---------------------------------------------------------------------------
def test_thinking_grows_while_its_block_is_open_and_the_answer_comes_when_it_closes() -> None:
    assert said(
        "<det",
        '<details type="reasoning" done="false">',
        OPEN + "On",
        OPEN + "One\n</details>",
        OPEN + "One.\nTwo\n</details>\n",
        SHUT + "One.\nTwo.\n</details>\n<answer>H",
        SHUT + "One.\nTwo.\n</details>\n<answer>Hi</answer>",
    ) == [
        *[("", "")] * 2,
        *[("On", ""), ("e", ""), (".\nTwo", "")],
        *[(".", "\n<answer>H"), ("", "i"), ("", "</answer>")],
    ]


def test_half_a_closing_tag_is_no_thinking() -> None:
    assert said("<think>a</thi", "<think>a</think>b") == [("a", ""), ("", "b"), ("", "")]


def test_a_tag_that_gets_attributes_when_it_closes_opens_the_same_block() -> None:
    parts = said("<think>ab", '<think duration="3">abc</think>', '<think duration="3">abc</think>d')
    assert parts == [("ab", ""), ("c", ""), ("", "d"), ("", "")]


def test_thinking_that_is_rendered_anew_when_it_closes_does_not_disturb_the_answer() -> None:
    for inner in ("> First a & b, then\n> c.", "something else", ""):
        parts = said(
            OPEN + "First a & b, then",
            f"{SHUT}{inner}\n</details>\nHi",
            f"{SHUT}{inner}\n</details>\nHi.",
        )
        assert joined(parts).answer == "\nHi."
        assert joined(parts).thinking.startswith("First a & b, then")


def test_thinking_never_comes_after_the_answer_began() -> None:
    parts = said(
        "<think>a</think>b",
        "<think>a and more</think>bc",
        "<think>a and",
        "<think>a and</think>bcd",
    )
    assert parts == [("a", "b"), ("", "c"), ("", ""), ("", "d"), ("", "")]


def test_a_block_that_appears_around_what_was_sent_is_not_sent_again() -> None:
    parts = said(
        "Let me",
        "Let me see",
        '<think duration="2">Let me see.</think>Hi',
        "<think>Let me see.</think>Hi.",
    )
    assert joined(parts) == ("", "Let me see.</think>Hi.")


def test_a_block_that_goes_away_leaves_the_answer() -> None:
    assert joined(said("<think>a", "<think>a</think>", "Hi", "Hi.")) == ("a", "Hi.")


def test_several_blocks_are_one_thinking() -> None:
    text = f"{SHUT}a\n</details>\n{SHUT}b\n</details>\nHi"
    assert joined(said(*(text[:end] for end in range(len(text) + 1)))) == ("a\n\nb", "\nHi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a", ("a", "")),
        ("<think>a</thi", ("a</thi", "")),
        (OPEN + "a\n</details>\nHi", ("a", "\nHi")),
        ('<details type="reasoning"', ("", '<details type="reasoning"')),
        (
            "<details><summary>More</summary></details>",
            ("", "<details><summary>More</summary></details>"),
        ),
        (SHUT[:-12], (SHUT[SHUT.index("<summary>") : -12], "")),
        ("a</think>b", ("", "a</think>b")),
        ("   ", ("", "   ")),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_still_waited_comes_at_the_end(text: str, expected: tuple[str, str]) -> None:
    assert joined(said(*(text[:end] for end in range(len(text) + 1)))) == expected


@FAST
@given(
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", OPEN, SHUT, "</details>", "a", "b\n", "\ud83d", "<", " "]
        )
    )
)
def test_a_text_that_only_grows_comes_as_it_is_at_the_end(words: list[str]) -> None:
    text = "".join(words)
    grown = said(*(text[:end] for end in range(len(text) + 1)))
    assert joined(grown) == joined(said(text))


@FAST
@given(
    st.lists(
        st.text(alphabet="ab<>/think ", max_size=30)
        | st.sampled_from([OPEN, SHUT, SHUT + "a</details>b"])
    )
)
def test_whatever_comes_nothing_is_raised_and_no_more_said_than_was_there(
    snapshots: list[str],
) -> None:
    whole = joined(said(*snapshots))
    assert len(whole.answer) + len(whole.thinking) <= sum(map(len, snapshots))


# --- recorded streams -----------------------------------------------------------------------------
EXPECTED: dict[str, tuple[str, str, Any]] = {
    "v1_details.sse": (
        "The user greets me.\nI greet back — kindly 🙂.",
        "Hello! How can I help?\n\n```\n<think>\n```",
        41,
    ),
    "v2_open_missing.sse": ("17 · 3 is 51, so the sum is 56.", "The result is **56**.", 30),
    "v2_think.sse": ("Short <b>thought</b>.", "Yes; see `</think>`.", 12),
    "plain.sse": ("", "No thinking here: 1 < 2, <tag>.", None),
}


def streamed(pieces: Iterable[bytes], thinking: str = "reasoning") -> list[Chunk]:
    """What callers get of a stream of bytes: reader and filters, no sockets."""
    request = ChatRequest("1", CHAT, "m", {"model": "m", "messages": []}, stream=True)
    model = UpstreamModel("u", thinking_format="implied", thinking=thinking)
    reader = DialectReader(K2ThinkAnswer(request, Credential(None, "")), EventSplitter(1_000_000))
    batches = [*map(reader.feed, pieces), reader.read_last_event()]
    reader.require_finish()
    for step in choose_filters(request, model, Attempt("p", "m")):
        batches = [step.filter_chunks(batch) for batch in batches]
    return [chunk for batch in batches for chunk in batch]


def message(chunks: list[Chunk]) -> Any:
    whole = fold_answer(chunks)
    return whole["choices"][0]["message"], whole["choices"][0]["finish_reason"], whole.get("usage")


def test_every_transcript_says_what_it_says() -> None:
    assert {path.name for path in TRANSCRIPTS} == EXPECTED.keys()
    for path in TRANSCRIPTS:
        thought, answer, tokens = EXPECTED[path.name]
        found, reason, usage = message(streamed([path.read_bytes()]))
        assert (found.get("reasoning_content") or "", found["content"], reason) == (
            thought,
            answer,
            "stop",
        )
        assert (usage or {}).get("completion_tokens") == tokens


def test_a_transcript_cut_anywhere_says_the_same() -> None:
    draw = random.Random(5)
    for path in TRANSCRIPTS:
        data = path.read_bytes()
        expected = message(streamed([data]))
        for _ in range(CUTS // len(TRANSCRIPTS)):
            places = sorted(draw.randrange(len(data)) for _ in range(draw.randrange(1, 6)))
            pieces = [
                data[start:end]
                for start, end in zip([0, *places], [*places, len(data)], strict=True)
            ]
            assert message(streamed(pieces)) == expected


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_byte_by_byte_says_the_same(path: Path) -> None:
    data = path.read_bytes()
    for thinking in ("reasoning", "inline", "hidden"):
        pieces = [data[at : at + 1] for at in range(len(data))]
        assert message(streamed(pieces, thinking)) == message(streamed([data], thinking))


def test_lines_that_are_quoted_when_their_block_closes_are_not_said_again() -> None:
    text = SnapshotReader()
    opened = '<details type="reasoning" done="false">\n<summary>Thinking…</summary>\n'
    closed = '<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n'
    said = [
        text.read_snapshot(f"{opened}aaaa bbb\ncccc ddd\nx"),
        text.read_snapshot(f"{closed}> aaaa bbb\n> cccc ddd\n> xyz\n</details>\nHi"),
        text.finish_text(),
    ]
    assert "".join(one.thinking for one in said) == "aaaa bbb\ncccc ddd\nxyz"
    assert "".join(one.answer for one in said).strip() == "Hi"
