"""Every character of a text is in a passage, no passage is too long, and cuts lie where the author
paused.
"""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.text.split import find_borders, split_passages, split_sentences

PROSE = st.text(
    st.sampled_from("ab Z.\n!?,。！，；中文\r\t#1\u0301\u200d👩🏽א”「」\f"), max_size=400
)
TEXTS = st.one_of(PROSE, st.text(max_size=400))
MEGABYTE = 1_000_000


def whole(text, passages, size):
    """The text as its passages tell it, with everything that always holds checked on the way."""
    told = ""
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert 0 < len(passage.text) <= size
        assert passage.start <= len(told) < passage.end
        told += text[len(told) : passage.end]
    starts = [passage.start for passage in passages]
    assert starts == sorted(set(starts))
    return told


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 60), st.data())
def test_every_character_is_in_a_passage_none_of_which_is_too_long(text, size, data):
    overlap = data.draw(st.integers(0, size // 2))

    passages = split_passages(text, size, overlap)

    assert whole(text, passages, size) == (text if text.strip() else "")
    for before, after in pairwise(passages):
        assert before.end - after.start <= overlap


@pytest.mark.parametrize(
    "unit",
    [
        "word " * 7,  # no sentence ever ends
        "x",  # one huge word
        ".",
        "。",
        "\n",
        " \n",
        "\n" + " " * 300,
        "1.1 a\n",
        "# a\n",
        "👩🏽‍🚀",
        "\u0301",
        "مرحبا؟ ",
        '"”)',
    ],
)
def test_a_megabyte_of_anything_is_split_into_no_more_passages_than_its_length_allows(unit):
    text = "T" + unit * (MEGABYTE // len(unit.encode()))

    passages = split_passages(text, 400, 200)

    assert whole(text, passages, 400) == text
    assert len(passages) <= len(text) // 100 + 2


RUNS = """
from conversations.text.split import find_borders, split_passages
openings = [
    "", "# ", "#", "1.1", "1.1 ", "1", "1.", "Chapter 1", "Chapter ", "第", "第一章", "A.", "。",
    "# a\\n",
]
runs = " |\\t|\\r|\\u3000|\\u00a0|1|1.|.|#|# |一|。|)|\\n |\\n| \\r|\\f|a"
for opening in openings:
    for run in runs.split("|"):
        for end in ("y" * 300, "y" * 300 + "\\n", ".\\n", "\\n"):
            find_borders(opening + run * 10_000 + end)
    split_passages(opening + " " * 10_000 + "y" * 300, 500, 200)
"""


def test_a_line_of_blanks_marks_or_digits_takes_no_longer_than_another():
    subprocess.run(
        [sys.executable, "-c", RUNS], timeout=50, check=True
    )  # the square of it would take an hour


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000" * 1000])
def test_whitespace_alone_has_no_passage(text):
    assert split_passages(text) == []


def test_a_short_text_is_one_passage():
    assert [passage.text for passage in split_passages("  One line.\n", 100)] == ["  One line.\n"]


def test_english_is_cut_after_sentences():
    text = (
        "The kettle sings. The cat sleeps on the mat. Rain falls on the roof! Is anybody there? "
        * 5
    )

    passages = split_passages(text, 100)

    assert len(passages) > 4
    assert all(
        passage.text.endswith(("sings. ", "mat. ", "roof! ", "there? ")) for passage in passages
    )


def test_chinese_without_a_space_is_cut_after_sentences():
    text = "水壶在唱歌。猫睡在垫子上！外面下着雨；有人在吗？他说：“没有人。”屋里很暖和。" * 8

    passages = split_passages(text, 40)

    assert len(passages) > 7
    assert all(passage.text.endswith(("。", "！", "；", "？", "。”")) for passage in passages)
    assert not any(passage.text.startswith("”") for passage in passages)


def test_initials_titles_and_numbers_do_not_end_a_sentence():
    sentence = (
        "We met Dr. Brown and J. R. Miller at 3.15 sharp, as e.g. the minutes of Mr. Gray say it. "
    )

    assert find_borders(sentence * 3 + "So.").sentences == [
        len(sentence),
        len(sentence) * 2,
        len(sentence) * 3,
    ]


def test_a_sentence_ends_after_the_last_of_its_marks():
    assert find_borders("真的吗？！是的。“好！”他说").sentences == [5, 8, 12]


def test_a_paragraph_is_not_torn_when_it_need_not_be():
    paragraphs = [
        f"Paragraph {number} begins. It has a middle. It ends here." for number in range(20)
    ]

    passages = split_passages("\n\n".join(paragraphs), 130, 30)

    assert all(passage.text.startswith("Paragraph") for passage in passages)
    assert all(passage.text.rstrip().endswith("ends here.") for passage in passages)


@pytest.mark.parametrize(
    "title",
    [
        "# Weather\n\n",
        "Chapter 4\n",
        "第四章 天气\n\n",
        "2.3 On the weather\n",
        "# Part\n\n## Rain\n",
    ],
)
def test_a_heading_goes_with_what_follows_it(title):
    before = "The harvest was good this year. " * 5
    text = f"{before}\n\n{title}It rained for days. " + "Nobody minded the mud. " * 10

    passages = split_passages(text, 240)

    [start] = [passage.start for passage in passages if title in passage.text]
    assert start == text.index(title)


def test_a_section_begins_a_passage_though_more_would_fit():
    text = (
        "An introduction of a line or two, no more than that.\n\n# Rain\n\n"
        + "It rained for days.\n\n" * 30
    )

    assert split_passages(text, 200)[0].end == text.index("# Rain")


def test_no_passage_ends_with_a_heading():
    text = (
        "Hello.\n# A heading of many words that goes on until late\n\nThen a body of words "
        "without an end "
    ) + "or so " * 30

    assert not any(
        passage.text.rstrip().endswith("until late") for passage in split_passages(text, 80)
    )


def test_an_overlap_repeats_whole_sentences_where_a_paragraph_is_torn():
    text = "One fish swims. Two birds fly. Three dogs bark. Four cats sleep. " * 10

    passages = split_passages(text, 120, 40)

    for before, after in pairwise(passages):
        shared = text[after.start : before.end]
        assert 0 < len(shared) <= 40
        assert shared.startswith(("One", "Two", "Three", "Four"))


def test_an_unspaced_text_without_sentences_overlaps_too():
    passages = split_passages("天地玄黄宇宙洪荒" * 50, 100, 20)

    assert all(b.end - a.start == 20 for b, a in pairwise(passages))


def test_an_emoji_and_an_accented_letter_stay_in_one_piece():
    for cluster in ("👩🏽‍🚀", "e\u0301", "न\u093e"):
        passages = split_passages(cluster * 200, 37, 9)
        assert all(passage.text.startswith(cluster[0]) for passage in passages)
        assert all(passage.text.endswith(cluster[-1]) for passage in passages)


def test_the_last_passage_is_no_crumb():
    text = "word " * 41

    assert len(split_passages(text, 200)[-1].text) >= 50


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (10, 6), (10, -1)])
def test_a_size_or_an_overlap_that_makes_no_sense_is_refused(size, overlap):
    with pytest.raises(ValueError, match="size"):
        split_passages("Some text.", size, overlap)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("天是蓝的。草是绿的。", ["天是蓝的。", "草是绿的。"]),
        ('He met Dr. Jones. "Why?" she said. ', ["He met Dr. Jones.", '"Why?" she said.']),
        ("no end", ["no end"]),
        ("  ", []),
    ],
)
def test_sentences_end_where_their_script_ends_them(text, sentences):
    assert split_sentences(text) == sentences
