"""Estimate the tokens of texts by their length and script, where an upstream gave no figures. No I/O."""

import string
from collections.abc import Sequence
from typing import Any

PER_MESSAGE = 4  # tokens
SLICE_CHARS = 4_096  # that are judged together; the interpreter is let go in between
ONE = 20  # weights are twentieths of a token, by the first byte that a sign has in UTF-8
BY_FIRST_BYTE = (
    (0x00, 5),  # ASCII: four signs are a token
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
DIGIT = ONE
DEVANAGARI, DEVANAGARI_LESS = (b"\xe0\xa4", b"\xe0\xa5"), 5
DIGITS, CAPITALS, SPACES = (one.encode() for one in (string.digits, string.ascii_uppercase, string.whitespace))
LETTERS, MARKS = string.ascii_letters.encode(), string.punctuation.encode()
FOLLOWING = bytes(range(0x80, 0xC0))  # no sign begins with these
ENCODED_BYTES = 64  # less is a name, no data


def guessed(asked: Sequence[str], produced: Sequence[str], counted: int = 0) -> dict[str, Any]:
    """Usage by the length of the texts, `asked` the messages': four letters are a token, and so is one sign of a script
    without spaces. `counted`: tokens of what was produced besides.
    """
    prompt = sum(tokens(text) + PER_MESSAGE for text in asked)
    completion = counted + sum(map(tokens, produced))
    total = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return total | {"estimated": True}


def tokens(text: str) -> int:
    """Tokens of a text, by what tokenizers make of its script; more rather than fewer, and at most one for a sign."""
    slices = range(0, len(text), SLICE_CHARS)
    return -(
        -sum(weight(text[start : start + SLICE_CHARS].encode("utf-8", "surrogatepass")) for start in slices) // ONE
    )


def weight(data: bytes) -> int:
    """Of UTF-8, in twentieths of a token. In tables of numbers marks count as digits do; in data written as letters
    (base64: no spaces, many capitals) three of four signs do.
    """
    table = WEIGHTS
    digits = share(data, DIGITS)
    if digits * 4 > len(data):
        table = OF_NUMBERS
    elif len(data) >= ENCODED_BYTES and encoded(data):
        table = OF_DATA
    found = sum(data.translate(table, FOLLOWING))
    if b"\xe0" in data:
        found -= DEVANAGARI_LESS * sum(map(data.count, DEVANAGARI))
    return found


def encoded(data: bytes) -> bool:
    letters = share(data, LETTERS)
    return letters * 2 > len(data) > 24 * share(data, SPACES) and share(data, CAPITALS) * 8 > letters


def share(data: bytes, signs: bytes) -> int:
    """How many of these signs there are."""
    return len(data) - len(data.translate(None, signs))


def weights(others: dict[bytes, int]) -> bytes:
    """A table for `bytes.translate`; `others`: signs of ASCII that weigh otherwise than most."""
    table = bytearray(256)
    for first, weighing in BY_FIRST_BYTE:
        table[first:] = bytes([weighing]) * (256 - first)
    for signs, weighing in others.items():
        for sign in signs:
            table[sign] = weighing
    return bytes(table)


WEIGHTS = weights({DIGITS: DIGIT})
OF_NUMBERS = weights({DIGITS: DIGIT, MARKS: DIGIT})
OF_DATA = weights({DIGITS: 15, LETTERS: 15})
