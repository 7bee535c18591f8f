"""Blank a secret in text that may be shown or stored, in whatever form an upstream repeats it.

Recognised are the secret itself, percent-encoded, as hexadecimal digits and as base64 (ordinary and
URL-safe, alone or inside a longer text such as `Bearer …`), each in any mix of upper and lower
case, and every part of one of these that is long enough to be told apart from ordinary words.
"""

import re
import string
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

BLANK = "***"
PART_CHARS = 12  # a part that long is blanked; a shorter secret only as a whole
SHORTEST_FORM = 6  # shorter encodings of a very short secret are words like any other
SAME = str.maketrans(
    string.ascii_uppercase + "-_", string.ascii_lowercase + "+/"
)  # case, and base64's two alphabets


def blank_secret(text: str, secret: str) -> str:
    """Return `text` with the secret, its encodings and their longer parts replaced by `***`."""
    if not secret:
        return text
    text = text.replace(secret, BLANK)
    shortest = min(PART_CHARS, len(secret))
    if not any(len(word) >= shortest for word in text.split()):
        return text
    plain = text.translate(SAME)
    for form in encoded_forms(secret):
        form = form.translate(SAME)
        size = min(PART_CHARS, len(form))
        if size >= min(SHORTEST_FORM, len(secret)):
            text, plain = blank_parts(text, plain, form, size)
    return text


def encoded_forms(secret: str) -> Iterator[str]:
    """Yield the secret as an upstream may write it; of base64 what does not depend on the text
    around it.
    """
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    if (quoted := quote(secret, safe="")) != secret:
        yield quoted
    yield data.hex()
    for before in range(
        3
    ):  # bytes of other text that share the first group of three with the secret
        coded = b64encode(bytes(before) + data).decode()
        first = (0, 2, 3)[before]  # characters that depend on the bytes before
        last = len(coded) - (0, 3, 2)[(before + len(data)) % 3]  # and on those behind
        yield coded[first:last]


def blank_parts(text: str, plain: str, form: str, size: int) -> tuple[str, str]:
    """Replace every part of `form` with `size` or more characters; `plain` is `text` as it is
    compared.
    """
    parts = {form[at : at + size] for at in range(len(form) - size + 1)}
    shown = []
    shown_plain = []
    done = 0
    for word in re.finditer(rf"\S{{{size},}}", plain):
        for first, last in find_parts(word[0], parts, size):
            start, end = word.start() + first, word.start() + last
            shown += [text[done:start], BLANK]
            shown_plain += [plain[done:start], BLANK]
            done = end
    if not done:
        return text, plain
    return "".join(shown) + text[done:], "".join(shown_plain) + plain[done:]


def find_parts(word: str, parts: set[str], size: int) -> Iterator[tuple[int, int]]:
    """Yield where parts are in `word`, first and behind the last character; parts that overlap are
    one.
    """
    first = last = -1
    for at in range(len(word) - size + 1):
        if word[at : at + size] not in parts:
            continue
        if at > last and last >= 0:
            yield first, last
            first = at
        elif last < 0:
            first = at
        last = at + size
    if last >= 0:
        yield first, last
