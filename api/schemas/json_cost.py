"""The cost of a JSON body, measured before it is read.

Reading makes an object of each list, object and value, whatever its size in bytes: 15 MB of `[],`
would be five million. They are counted by the characters that make them, outside of texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from providers.exceptions import InvalidJson
from providers.wire.json_reader import DEEPEST

WINDOW_BYTES = 2**18  # searched at a time, as other threads wait that long
ITEM_MARKS = (b"[", b"{", b",", b":")
BRACKETS = b"[]{}"
OPENING = (ord("["), ord("{"))
NO_BRACKETS = bytes(set(range(256)) - set(BRACKETS))


@dataclass(slots=True)
class Structure:
    """The number of values, names, levels and backslashes in a body."""

    items: int = 0
    names: int = 0
    depth: int = 0
    deepest: int = 0
    escapes: int = 0


def measure(raw: bytes) -> Structure:
    """Count the values, names, levels and backslashes of a body.

    Raises InvalidJson when they are more than the settings allow.
    """
    found = Structure()
    deepest = min(settings.JSON_DEPTH, DEEPEST)
    for window, marks in structural_parts(raw):
        found.escapes += window.count(b"\\")
        found.items += sum(marks.count(mark) for mark in ITEM_MARKS)
        found.names += marks.count(b":")
        if found.items > settings.JSON_ITEMS:
            raise InvalidJson(
                f"The body has more than {settings.JSON_ITEMS} values: "
                "brackets, colons and commas outside of texts are counted."
            )
        if found.escapes > settings.JSON_ESCAPES:
            raise InvalidJson(f"The body has more than {settings.JSON_ESCAPES} backslashes.")
        follow_depth(found, marks.translate(None, delete=NO_BRACKETS))
        if found.deepest > deepest:
            raise InvalidJson(f"The body is nested deeper than {deepest} levels.")
    return found


def follow_depth(found: Structure, brackets: bytes) -> None:
    """Follow the brackets and update the depth and the deepest level in `found`."""
    depth = found.depth
    deepest = found.deepest
    for bracket in brackets:
        if bracket in OPENING:
            depth += 1
            if depth > deepest:
                deepest = depth
        else:
            depth -= 1
    found.depth = depth
    found.deepest = deepest


def structural_parts(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the body in windows, each with its characters outside of texts."""
    start = 0
    in_text = False
    while start < len(raw):
        end = end_of_window(raw, start)
        window = raw[start:end]
        plain = window.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in window else window
        parts = plain.split(b'"')
        yield window, b"".join(parts[1::2] if in_text else parts[::2])
        in_text ^= len(parts) % 2 == 0
        start = end


def end_of_window(raw: bytes, start: int) -> int:
    """Return the end of a window, never between a backslash and the character it escapes."""
    end = start + WINDOW_BYTES
    if raw[end - 1 : end] != b"\\":
        return end
    return len(raw) - len(raw[end:].lstrip(b"\\")) + 1
