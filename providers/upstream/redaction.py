"""Blank a secret in text that may be shown or stored, in any form in which an upstream repeats it.

These forms are recognised: the secret itself, percent-encoded, as hexadecimal digits and as base64
(ordinary and URL-safe, alone or inside a longer text such as `Bearer …`), each in any mix of upper
and lower case, and every part of one of these that is too long to be an ordinary word.
"""

import re
import string
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

BLANK = "***"
PART_CHARS = 12  # parts of this length are blanked; a shorter secret only as a whole
SHORTEST_FORM = 6  # shorter encodings of a very short secret look like ordinary words
# makes upper and lower case, and base64's two alphabets, compare equal
COMPARISON_TABLE = str.maketrans(string.ascii_uppercase + "-_", string.ascii_lowercase + "+/")


def blank_secret(text: str, secret: str) -> str:
    """Return `text` with the secret, its encodings and their longer parts replaced by `***`."""
    if not secret:
        return text
    text = text.replace(secret, BLANK)
    shortest = min(PART_CHARS, len(secret))
    if not any(len(word) >= shortest for word in text.split()):
        return text
    plain = text.translate(COMPARISON_TABLE)
    for form in list_encoded_forms(secret):
        form = form.translate(COMPARISON_TABLE)
        size = min(PART_CHARS, len(form))
        if size >= min(SHORTEST_FORM, len(secret)):
            text, plain = blank_parts(text, plain, form, size)
    return text


def list_encoded_forms(secret: str) -> Iterator[str]:
    """Yield the secret in the forms in which an upstream may write it.

    Of base64 only the characters are yielded that do not depend on the text around the secret.
    """
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    if (quoted := quote(secret, safe="")) != secret:
        yield quoted
    yield data.hex()
    # `before` bytes of other text may share the first group of three with the secret
    for before in range(3):
        coded = b64encode(bytes(before) + data).decode()
        first = (0, 2, 3)[before]  # characters that depend on the bytes before
        # the last ones depend on the bytes behind
        last = len(coded) - (0, 3, 2)[(before + len(data)) % 3]
        yield coded[first:last]


def blank_parts(text: str, plain: str, form: str, size: int) -> tuple[str, str]:
    """Replace every part of `form` with `size` or more characters.

    `plain` is `text` in the form in which it is compared, of the same length. Returns both,
    changed.
    """
    parts = {form[start : start + size] for start in range(len(form) - size + 1)}
    pieces = []
    plain_pieces = []
    copied_to = 0
    for word in re.finditer(rf"\S{{{size},}}", plain):
        for first, last in find_parts(word[0], parts, size):
            start = word.start() + first
            pieces += [text[copied_to:start], BLANK]
            plain_pieces += [plain[copied_to:start], BLANK]
            copied_to = word.start() + last
    if not copied_to:
        return text, plain
    return "".join(pieces) + text[copied_to:], "".join(plain_pieces) + plain[copied_to:]


def find_parts(word: str, parts: set[str], size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of `word` that parts cover: the first index, and the index after the last.

    Parts that overlap or touch make one range.
    """
    first = 0
    last = None
    for start in range(len(word) - size + 1):
        if word[start : start + size] not in parts:
            continue
        if last is None or start > last:
            if last is not None:
                yield first, last
            first = start
        last = start + size
    if last is not None:
        yield first, last
