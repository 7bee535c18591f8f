"""Split text into terms, by which passages and questions in any language are compared.

Terms are short casefolded strings, words first, with repetitions. Scripts with spaces between words
give words (at most 64 characters each, without accents and common English endings). Scripts without
(Han, kana, Hangul, Thai, Lao, Khmer, Burmese, Tibetan) give overlapping pairs of characters. There
are no stop words: a term that is in every passage has no weight.
"""

import re
import unicodedata
from itertools import chain
from operator import add

UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"  # Han and Hangul
)
# Vowel signs and accents belong to their word, but are no letters for regular expressions.
COMBINING_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0970-\u0dff"
WORDS = re.compile(rf"(?:[^\W_{UNSPACED}]|[{COMBINING_MARKS}]){{1,64}}")
CHARS_PER_UNSPACED_WORD = 2
ASCII_WORDS = re.compile(r"[a-z0-9]{1,64}")
UNSPACED_RUNS = re.compile(rf"[{UNSPACED}]+")
# Normalisation sorts a run of accents, which takes the square of its length; no word has so many in
# a row. Characters that become accents when normalised count too (halfwidth voiced marks).
ACCENTS_AT_MOST = 30
TOO_MANY_ACCENTS = re.compile(
    rf"((?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){{{ACCENTS_AT_MOST}}})"
    r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f])++"
)
ACCENTS = re.compile("[\u0300-\u036f]")
ENGLISH_ENDINGS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"))
MOST_STEMS = 100_000  # words whose stem is remembered: a bound on memory, not on the text


class _StemCache(dict[str, str]):
    """A cache from word to stem, so that a long text costs one lookup for each word."""

    def __missing__(self, word: str) -> str:
        if len(self) >= MOST_STEMS:
            self.clear()
        stem = self[word] = stem_word(word)
        return stem


_stem_cache = _StemCache()


def extract_terms(text: str) -> list[str]:
    """Return the terms of a text, about one for each word or unspaced character.

    A text without letters and digits has none.
    """
    if text.isascii():
        return list(map(_stem_cache.__getitem__, ASCII_WORDS.findall(text.lower())))
    text = unicodedata.normalize("NFKC", TOO_MANY_ACCENTS.sub(r"\1", text)).casefold()
    words = list(map(_stem_cache.__getitem__, WORDS.findall(text)))
    words.extend(chain.from_iterable(map(pair_characters, UNSPACED_RUNS.findall(text))))
    return words


def count_words(text: str) -> int:
    """Count the different words of a text, roughly.

    In scripts without spaces a word has two characters.
    """
    text = unicodedata.normalize("NFKC", TOO_MANY_ACCENTS.sub(r"\1", text)).casefold()
    unspaced_chars = set(chain.from_iterable(UNSPACED_RUNS.findall(text)))
    return len(set(WORDS.findall(text))) + len(unspaced_chars) // CHARS_PER_UNSPACED_WORD


def pair_characters(run: str) -> list[str]:
    """Return the overlapping pairs of a run of unspaced characters; one alone stays alone.

    Example: "中国人" -> 中国, 国人.
    """
    return list(map(add, run, run[1:])) if len(run) > 1 else [run]


def stem_word(word: str) -> str:
    """Return a casefolded word without accents and the commonest English endings.

    So "studies" finds "study".
    """
    if not word.isascii():
        word = unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", word)))
    if len(word) < 4 or not word.isascii():
        return word
    for ending, replacement in ENGLISH_ENDINGS:
        if word.endswith(ending):
            return word[: -len(ending)] + replacement
    if word[-1] == "s" and word[-2] not in "sui":
        word = word[:-1]
    return word
