"""Estimate the tokens of texts by their length and script, without an exact count. No I/O.

Exact counting (`api/accounting/token_count.py`) needs a vocabulary and time; the estimate needs
neither, so prompts are fitted and conversations are measured with it. It gives more rather than
fewer tokens, and at most one for each character.

A weight is the number of twentieths of a token that one character takes, found by the first byte of
the character in UTF-8. The weights were chosen so that sentences of each script come out near the
counts of the tokenizer Tekken (Mistral); its figures are in
`conversations/tests/text/test_token_estimate.py`.
"""

import string
from collections.abc import Mapping, Sequence

# Tokens that a chat format adds to each message: role and delimiters.
# Source: OpenAI Cookbook, "How to count tokens with tiktoken" (3 or 4, depending on the model).
MESSAGE_TOKENS = 4
# Tokens of an image or a file that is no text, roughly. Source: OpenAI, "Images and vision": 765
# for an image of 1024 x 1024 pixels in high detail, 1,105 for one of 2048 x 4096.
ATTACHMENT_TOKENS = 1_000

SLICE_CHARS = 4_096  # weighed at once; between two slices other threads may run
WEIGHT_OF_A_TOKEN = 20
WEIGHT_BY_FIRST_BYTE = (
    (0x00, 5),  # ASCII: four characters are a token
    (0xC2, 5),  # Latin with accents
    (0xCE, 9),  # Greek
    (0xD0, 8),  # Cyrillic
    (0xD4, 11),  # Armenian, Hebrew
    (0xD8, 8),  # Arabic
    (0xDC, 20),
    (0xE0, 13),  # Thai, the scripts of India
    (0xE1, 20),
    (0xE2, 5),  # dashes, quotation marks
    (0xE3, 20),  # scripts without spaces, emoji
)
DEVANAGARI = (b"\xe0\xa4", b"\xe0\xa5")
DEVANAGARI_DISCOUNT = 5
ENCODED_CHAR_WEIGHT = 15  # in base64 and similar encodings, four characters are about three tokens
CHARS_PER_TOKEN = 4  # as in ASCII, for text of which only the length is known
DIGITS = string.digits.encode()
CAPITALS = string.ascii_uppercase.encode()
LETTERS = string.ascii_letters.encode()
SPACES = string.whitespace.encode()
MARKS = string.punctuation.encode()
CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # these bytes begin no character
LEAST_ENCODED_BYTES = 64  # a shorter run is a name, no data


def build_table(weights: Mapping[bytes, int]) -> bytes:
    """Build a table for `bytes.translate`: first byte -> weight.

    `weights` are those of ASCII characters that differ from the usual weight.
    """
    table = bytearray(256)
    for first_byte, weight in WEIGHT_BY_FIRST_BYTE:
        table[first_byte:] = bytes([weight]) * (256 - first_byte)
    for characters, weight in weights.items():
        for character in characters:
            table[character] = weight
    return bytes(table)


TEXT_TABLE = build_table({DIGITS: WEIGHT_OF_A_TOKEN})
NUMBERS_TABLE = build_table({DIGITS: WEIGHT_OF_A_TOKEN, MARKS: WEIGHT_OF_A_TOKEN})
ENCODED_TABLE = build_table({DIGITS: ENCODED_CHAR_WEIGHT, LETTERS: ENCODED_CHAR_WEIGHT})


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text; none for an empty one."""
    weight = 0
    for start in range(0, len(text), SLICE_CHARS):
        part = text[start : start + SLICE_CHARS]
        weight += weigh_slice(part.encode("utf-8", "surrogatepass"))
    return -(-weight // WEIGHT_OF_A_TOKEN)


def estimate_texts(texts: Sequence[str], most_chars: int) -> int:
    """Estimate the tokens of all these texts with bounded work.

    When they have more than `most_chars` characters, only the beginning of each text is weighed, in
    proportion to its length.
    """
    total = sum(map(len, texts))
    if total <= most_chars:
        return sum(map(estimate_tokens, texts))
    samples = [text[: len(text) * most_chars // total] for text in texts]
    sampled = sum(map(len, samples))
    if not sampled:
        return total // CHARS_PER_TOKEN
    return round(sum(map(estimate_tokens, samples)) * total / sampled)


def weigh_slice(data: bytes) -> int:
    """Weigh some UTF-8, in twentieths of a token.

    In tables of numbers, marks count as digits do. In data that is written as letters (base64),
    three of four characters are a token.
    """
    table = TEXT_TABLE
    if count_bytes(data, DIGITS) * 4 > len(data):
        table = NUMBERS_TABLE
    elif len(data) >= LEAST_ENCODED_BYTES and is_encoded(data):
        table = ENCODED_TABLE
    weight = sum(data.translate(table, CONTINUATION_BYTES))
    if b"\xe0" in data:
        weight -= DEVANAGARI_DISCOUNT * sum(map(data.count, DEVANAGARI))
    return weight


def is_encoded(data: bytes) -> bool:
    """Return whether it is data written as letters: hardly any space, many capitals."""
    letters = count_bytes(data, LETTERS)
    if not letters * 2 > len(data) > 24 * count_bytes(data, SPACES):
        return False
    return count_bytes(data, CAPITALS) * 8 > letters


def count_bytes(data: bytes, wanted: bytes) -> int:
    """Count the bytes of `data` that are among `wanted`."""
    return len(data) - len(data.translate(None, wanted))
