"""Citation marks: footnotes where the result is known, nothing where it is not, and never a part of
a mark.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.filters import citations
from providers.filters.citations import CitationReplacer, Sources
from proxysite.testing.counted_work import WorkCounter

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=200)
A, S, Z = "\ue3a0", "\ue3a3", "\ue3a8"


def mark(*references: str) -> str:
    return A + "cite" + "".join(S + reference for reference in references) + Z


def known(*references: object) -> Sources:
    sources = Sources()
    for reference in references:
        sources.add_source(reference, f"https://example.org/{reference}", f"Title {reference}")
    return sources


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("plain", "plain"),
        (f"A{mark('1')}.", "A[1]."),
        (f"A{mark('2', '1')}, B{mark('1')}.", "A[1][2], B[2]."),
        (f"A{mark('1', '1')}.", "A[1]."),
        (f"A{mark('9')}.", "A."),
        (f"A{mark('9', '2')}.", "A[1]."),
        (f"A{mark()}.", "A."),
        (f"A{mark('')}.", "A."),
        (f"A{A}cite{S}1", "A"),
        (f"A{A}cit", "A"),
        (f"A{A}", "A"),
        (f"A{A}cite{S}1 and so on", "A and so on"),
        (f"A{A}cite{S}1{mark('1')}.", "A[1]."),
        (f"A{A}{mark('1')}.", f"A{A}[1]."),
        (f"A{A}other{Z}", f"A{A}other{Z}"),
        (f"A{A}cited", f"A{A}cited"),
        (f"\ue200{S}{Z}\uf8ff", f"\ue200{S}{Z}\uf8ff"),
        (mark(*["1"] * 5_000), "[1]"),
    ],
    ids=ascii,
)
def test_marks_become_footnotes_or_nothing(given_: str, expected: str) -> None:
    assert CitationReplacer(known(1, "2")).replace_marks(given_) == expected


def test_a_footnotes_annotation_says_where_it_stands_and_what_it_names() -> None:
    citations = CitationReplacer(known("1", "2"))
    text = "".join(map(citations.replace_marks, ["Héllo", f"🙂{A}ci", f"te{S}2{Z} and{mark('1')}"]))
    assert text == "Héllo🙂[1] and[2]"
    assert citations.returned_chars == len(text)
    found = [one["url_citation"] for one in citations.annotations]
    assert [text[one["start_index"] : one["end_index"]] for one in found] == ["[1]", "[2]"]
    assert [(one["url"], one["title"]) for one in found] == [
        ("https://example.org/2", "Title 2"),
        ("https://example.org/1", "Title 1"),
    ]


def test_marks_just_go_where_nothing_is_cited() -> None:
    citations = CitationReplacer(known("1"), wants_footnotes=False)
    assert citations.replace_marks(f"Hm{mark('1')}, so.") == "Hm, so."
    assert citations.annotations == []


@pytest.mark.parametrize(
    "url", [None, "", "javascript:alert(1)", "ftp://example.org", 7, "https://" + "a" * 9_000]
)
def test_a_result_without_an_address_of_the_web_is_none(url: object) -> None:
    sources = Sources()
    sources.add_source("1", url, "Title")
    assert CitationReplacer(sources).replace_marks(f"A{mark('1')}") == "A"
    assert sources.build_all_annotations(0) == []


def test_a_result_without_a_title_is_called_by_its_address() -> None:
    sources = Sources()
    sources.add_source(1, "https://example.org/a", None)
    assert [one["url_citation"]["title"] for one in sources.build_all_annotations(0)] == [
        "https://example.org/a"
    ]


PIECES = st.sampled_from(
    [A, S, Z, "cite", "ci", "te", "1", "2", "x", " ", "\ue200", mark("1"), mark("2", "9")]
)


@FAST
@given(st.lists(PIECES, max_size=25), st.randoms(use_true_random=False))
def test_any_text_cut_anywhere_gives_the_same(parts: list[str], draw: random.Random) -> None:
    text = "".join(parts)
    whole = CitationReplacer(known("1", "2"))
    expected = whole.replace_marks(text)
    at = sorted(draw.randrange(len(text) + 1) for _ in range(draw.randrange(8)))
    cut = CitationReplacer(known("1", "2"))
    found = "".join(
        cut.replace_marks(text[start:end])
        for start, end in zip([0, *at], [*at, len(text)], strict=True)
    )
    assert found == expected
    assert cut.annotations == whole.annotations
    assert A + "cite" + S not in expected


@pytest.mark.parametrize(
    "piece", ["\ue3a0", "\ue3a0cite", "\ue3a0c", "\ue3a0cite\ue3a3", "\ue3a0cite\ue3a8"]
)
def test_eight_times_the_marks_cost_about_eight_times_the_work(
    piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = WorkCounter()
    counter.watch_patterns(monkeypatch, citations)

    def count_steps(times: int) -> int:
        text = piece * times
        return counter.count_steps(lambda: CitationReplacer(Sources()).replace_marks(text))

    assert count_steps(2_400) < 10 * count_steps(300)  # the square would be 64 times as many
