"""Split a long text into passages at headings, paragraphs or sentences, else anywhere.

The `Passage`s are in order, each a slice of the text with its offsets, none longer than a size in
characters. Together they hold every character. Sentence ends are found by punctuation (Western,
Chinese, Japanese, Indic, Arabic), so a text without spaces is divided as well as an English one.
The work is proportional to the length of any text: every pattern is bounded, or never gives back a
match (`++`) and cannot start twice at the same place.
"""

# ruff: noqa: RUF001 - the punctuation of all scripts is the matter here

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

PASSAGE_CHARS = 500  # characters: a short paragraph of English
# these need no space after them; Western ones are recognised by the text that follows
FULL_STOPS = "。！？；｡।॥؟۔።။։"
CLOSERS = "[\"'”’»)\\]］〉》」』】）〕]{0,3}"
# not "J." or "Dr."
SENTENCE = r"(?<!\b[A-Z])(?<!\b(?:Dr|Mr|Ms|St|No|vs|cf|Jr|Sr))(?<!\b(?:Mrs|Fig|Vol))(?<!\bProf)\."
CHAPTER = "|".join(
    form
    for name in ("chapter", "section", "part", "appendix")
    for form in (name, name.title(), name.upper())
)
HEADINGS = re.compile(
    r"^[ \t\u3000]{0,4}+(?:"
    r"\#{1,6}+[ \t]++[^\n]{1,200}+"  # Markdown
    r"|第[0-9〇零一二三四五六七八九十百千两]{1,6}+[章节節回篇部卷条條][^\n。！？；]{0,60}+"
    rf"|(?:{CHAPTER})[ \t]++[0-9A-Z]{{1,6}}+\b[^\n]{{0,80}}+"
    r"|[0-9]{1,3}+(?:\.[0-9]{1,3}+){1,4}+\.?+[ \t]++"  # 2.1 Methods
    r"[^\n]{1,80}+(?<![.!?。！？；,，])"
    r")[ \t\r]*+(?:\n(?:[ \t\r]*+\n)*+|\Z)",
    re.MULTILINE,
)
PARAGRAPHS = re.compile(rf"\n\s*\n|[\f\u2029]|[.!?。！？]{CLOSERS}[ \t\r]{{0,8}}\n(?:\s*\n)?")
SENTENCES = re.compile(
    rf"(?:{SENTENCE}|[!?…]){CLOSERS}[ \t\u00a0]{{1,8}}(?=[^\sa-z])"
    rf"|[{FULL_STOPS}](?![{FULL_STOPS}]){CLOSERS}[ \t\u3000]{{0,8}}"
)
# Used only where there is no better border: the end of a line, of a clause, of a word.
WEAKER_BORDERS = tuple(re.compile(pattern) for pattern in (r"\n", r"[,;:]\s|[，、：،؛—–]", r"\s"))
JOINERS = "\u200d\u200c\ufe0e\ufe0f"
# characters that a hard cut goes back at most to keep an accent or an emoji whole
LONGEST_CLUSTER = 24


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a text: `text` is `whole[start:end]`, with offsets in characters."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Borders:
    """The places where a text may be cut, in ascending offsets.

    A passage begins at each of them, but at the end of a title only when there is no other place.
    """

    headings: list[int]
    titles: list[int]
    paragraphs: list[int]
    sentences: list[int]


def split_passages(text: str, size: int = PASSAGE_CHARS, overlap: int = 0) -> list[Passage]:
    """Return the passages of `text` in order, each 1..`size` characters, usually at least half.

    `overlap` (0..`size`/2) is the most characters of the passage before that a passage repeats, in
    whole sentences or words, where a paragraph is cut. Blank text has no passage. Otherwise every
    character is in one, and each passage begins after the beginning of the one before and not after
    its end. Raises ValueError for a size under 1 and an overlap out of its range.
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise ValueError("the size is at least 1 character, the overlap at most half of the size")
    if not text.strip():
        return []
    borders = find_borders(text)
    passages = []
    start = 0
    while len(text) - start > size:
        end, cuts_paragraph = find_cut(text, borders, start, (size, overlap))
        passages.append(Passage(start, end, text[start:end]))
        start = end
        if cuts_paragraph and overlap:
            start = find_next_start(text, borders, end, overlap)
    passages.append(Passage(start, len(text), text[start:]))
    return passages


def find_borders(text: str) -> Borders:
    """Return the good places to cut a text.

    They are before a heading, after a title, after a paragraph, after a sentence.
    """
    headings: list[int] = []
    titles: list[int] = []
    for match in HEADINGS.finditer(text):
        if titles[-1:] != [match.start()]:  # a title and its subtitle stay together
            headings.append(match.start())
        titles.append(match.end())
    return Borders(
        headings,
        titles,
        [match.end() for match in PARAGRAPHS.finditer(text)],
        [match.end() for match in SENTENCES.finditer(text)],
    )


def split_sentences(text: str) -> list[str]:
    """Split a text at the ends of its sentences, in any script, without the blanks between them."""
    ends = [0, *(match.end() for match in SENTENCES.finditer(text)), len(text)]
    parts = (text[start:end].strip() for start, end in pairwise(ends))
    return [part for part in parts if part]


def find_cut(
    text: str, borders: Borders, start: int, size_and_overlap: tuple[int, int]
) -> tuple[int, bool]:
    """Return where the passage from `start` ends, and whether that cuts a paragraph.

    `size_and_overlap` is (size, overlap). The end lies more than a quarter of the size beyond start
    + overlap (or is start + 1 for tiny sizes), so splitting always ends and is linear.
    """
    size, overlap = size_and_overlap
    limit = min(start + size, len(text) - size // 4)  # leaves no tiny passage at the end
    if end := find_last_border(borders.headings, start + size // 4, limit):
        return end, False
    low = start + max(size // 2, overlap + size // 4)
    low = max(low, find_last_border(borders.titles, low, limit - 1))
    if end := find_last_border(borders.paragraphs, low, limit):
        return end, False
    if end := find_last_border(borders.sentences, low, limit):
        return end, True
    for pattern in WEAKER_BORDERS:
        for match in pattern.finditer(text, low, limit):
            end = match.end()
        if end:
            return end, True
    return find_cluster_border(text, low, limit), True


def find_last_border(borders: list[int], low: int, limit: int) -> int:
    """Return the last border in (low, limit], 0 when there is none."""
    number = bisect_right(borders, limit) - 1
    return borders[number] if number >= 0 and borders[number] > low else 0


def find_next_start(text: str, borders: Borders, end: int, overlap: int) -> int:
    """Return where the passage after a cut at `end` begins.

    It is at most `overlap` characters before the cut: at a sentence, else at a word, else anywhere.
    """
    low = end - overlap
    for kind in (borders.headings, borders.paragraphs):
        low = max(low, find_last_border(kind, low, end))
    number = bisect_right(borders.sentences, low - 1)
    if number < len(borders.sentences) and borders.sentences[number] < end:
        return borders.sentences[number]
    space = WEAKER_BORDERS[-1].search(text, low, end)
    if space:
        return space.end()
    while low < end and is_inside_cluster(text, low):
        low += 1
    return low


def find_cluster_border(text: str, low: int, limit: int) -> int:
    """Return the last offset in (low, limit] that splits no visible character, else the limit.

    A visible character may consist of several code points.
    """
    for offset in range(limit, max(low, limit - LONGEST_CLUSTER), -1):
        if not is_inside_cluster(text, offset):
            return offset
    return limit


def is_inside_cluster(text: str, offset: int) -> bool:
    """Return whether a cut at `offset` splits an accent from its letter, or an emoji.

    `offset` is between 0 and the length, both excluded.
    """
    mark = text[offset]
    before = text[offset - 1]
    if mark in JOINERS or before == "\u200d" or "\U0001f3fb" <= mark <= "\U0001f3ff":
        return True
    return unicodedata.category(mark).startswith("M") or (mark == "\n" and before == "\r")
