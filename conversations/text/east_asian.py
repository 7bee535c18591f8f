"""Tell the older encodings of Chinese, Japanese and Korean apart, in short texts too.

The same bytes are valid in several of them. Each decoding is judged by its characters: frequent
ones speak for it, and those outside the everyday range of its language against it.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

# the most frequent characters of each written language, by general frequency lists
SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
    "日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政"
    "美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员"
)
TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡"
    "用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實"
    "日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政"
)
HANGUL_SYLLABLES = frozenset(
    "이다는의에을를가은고하지도로한서기사시인어자나아라해그리스수대정있전일부만과니게들여보것주제안요했"
)
FREQUENT_WEIGHT = 3
EVERYDAY_WEIGHT = 1
STRANGE_WEIGHT = -1
THAI_VOWEL_BEFORE_LETTER = re.compile("[\u0e40-\u0e44](?=[\u0e01-\u0e2e])")
THAI_OUT_OF_ORDER = re.compile(
    "\ufffd|[\u0e40-\u0e44](?![\u0e01-\u0e2e])"
    "|(?:^|[^\u0e01-\u0e2e\u0e31\u0e34-\u0e3a\u0e47-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]"
)
MOST_LETTERS_PER_VOWEL = 25
LEAST_THAI_LETTERS = 60  # a shorter Chinese text may look like Thai
# the average weight of a text that is certainly of its language
CERTAIN_AVERAGE = 1.3
MOST_SAMPLED_BYTES = 32_768


def is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30fe"


def is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"


def is_first_level_gb(character: str) -> bool:
    """Return whether a character is among the 3,755 that GB 2312 lists as everyday ones."""
    return "\xb0" <= character.encode("gb18030", "replace").decode("latin-1")[0] <= "\xd7"


def is_first_level_big5(character: str) -> bool:
    return "\xa4" <= character.encode("big5", "replace").decode("latin-1")[0] <= "\xc6"


def is_first_level_jis(character: str) -> bool:
    return "\xb0" <= character.encode("euc_jp", "replace").decode("latin-1")[0] <= "\xcf"


class Script(NamedTuple):
    """How the characters of one language are judged, in one of its encodings."""

    encoding: str
    is_frequent: Callable[[str], bool]
    is_everyday: Callable[[str], bool]


SCRIPTS = (
    Script("gb18030", SIMPLIFIED.__contains__, is_first_level_gb),
    Script("big5", TRADITIONAL.__contains__, is_first_level_big5),
    Script("euc_jp", is_kana, is_first_level_jis),
    Script("shift_jis", is_kana, is_first_level_jis),
    Script("cp949", HANGUL_SYLLABLES.__contains__, is_hangul),
)


def guess_east_asian(data: bytes, *, must_be_certain: bool) -> str:
    """Return the encoding that suits the beginning of a text best; "" when none does.

    With `must_be_certain` the text must be certainly of that language.
    """
    sample = data[:MOST_SAMPLED_BYTES]
    if is_thai(sample):
        return ""
    averages = [(weigh_decoding(sample, script), script.encoding) for script in SCRIPTS]
    best = max(averages, key=lambda entry: entry[0])
    least = CERTAIN_AVERAGE if must_be_certain else 0.0
    return best[1] if best[0] >= least else ""


def is_thai(data: bytes) -> bool:
    """Return whether a longer text has the vowels and tone marks of Thai where Thai has them.

    Thai has bytes as East Asian texts have, where vowels that stand before their letter are rare.
    """
    text = data[:MOST_SAMPLED_BYTES].decode("cp874", "replace")
    letter_count = sum(character > "\x7f" for character in text)
    vowel_count = len(THAI_VOWEL_BEFORE_LETTER.findall(text))
    is_in_order = THAI_OUT_OF_ORDER.search(text) is None
    if letter_count < LEAST_THAI_LETTERS:
        return False
    return is_in_order and vowel_count * MOST_LETTERS_PER_VOWEL > letter_count


def weigh_decoding(sample: bytes, script: Script) -> float:
    """Return the average weight of the characters of a decoding; below 0 when it is not valid."""
    text = decode_sample(sample, script.encoding)
    weights = list(weigh_characters(text, script))
    return sum(weights) / len(weights) if weights else float(STRANGE_WEIGHT)


def decode_sample(sample: bytes, encoding: str) -> str:
    """Decode a sample, which may end within a character; "" when it is not valid."""
    for cut in range(4):
        try:
            return sample[: len(sample) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
    return ""


def weigh_characters(text: str, script: Script) -> Iterator[int]:
    """Yield the weight of each letter beyond ASCII; punctuation says nothing."""
    for character in text:
        if character <= "\x7f" or not character.isalnum():
            continue
        if script.is_frequent(character):
            yield FREQUENT_WEIGHT
        elif script.is_everyday(character):
            yield EVERYDAY_WEIGHT
        else:
            yield STRANGE_WEIGHT
