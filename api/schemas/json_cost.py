"""The cost of a JSON body, measured before it is read.

Reading makes an object of each list, object and value, whatever its size in bytes: 15 MB of `[],`
would be five million. They are counted by the characters that make them, outside of texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from providers.exceptions import InvalidJson
from providers.wire.json_reader import MOST_NESTING_LEVELS

WINDOW_BYTES = 2**18  # searched at a time, as other threads wait that long
ITEM_MARKS = (b"[", b"{", b",", b":")
BRACKETS = b"[]{}"
OPENING_BRACKETS = (ord("["), ord("{"))
NO_BRACKETS = bytes(set(range(256)) - set(BRACKETS))


@dataclass(slots=True)
class Structure:
    """The number of values, names, levels and backslashes in a body."""

    items: int = 0
    names: int = 0
    depth: int = 0
    deepest_level: int = 0
    escapes: int = 0


def measure_structure(raw: bytes) -> Structure:
    """Count the values, names, levels and backslashes of a body.

    Raises InvalidJson when they are more than the settings allow.
    """
    structure = Structure()
    most_levels = min(settings.JSON_DEPTH, MOST_NESTING_LEVELS)
    for window, marks in iterate_windows(raw):
        structure.escapes += window.count(b"\\")
        structure.items += sum(marks.count(mark) for mark in ITEM_MARKS)
        structure.names += marks.count(b":")
        if structure.items > settings.JSON_ITEMS:
            raise InvalidJson(
                f"The body has more than {settings.JSON_ITEMS} values: "
                "brackets, colons and commas outside of texts are counted."
            )
        if structure.escapes > settings.JSON_ESCAPES:
            raise InvalidJson(f"The body has more than {settings.JSON_ESCAPES} backslashes.")
        update_depth(structure, marks.translate(None, delete=NO_BRACKETS))
        if structure.deepest_level > most_levels:
            raise InvalidJson(f"The body is nested deeper than {most_levels} levels.")
    return structure


def update_depth(structure: Structure, brackets: bytes) -> None:
    """Follow the brackets and update the depth and the deepest level in `structure`."""
    depth = structure.depth
    deepest = structure.deepest_level
    for bracket in brackets:
        if bracket in OPENING_BRACKETS:
            depth += 1
            if depth > deepest:
                deepest = depth
        else:
            depth -= 1
    structure.depth = depth
    structure.deepest_level = deepest


def iterate_windows(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the body in windows, each with its characters outside of texts."""
    start = 0
    in_text = False
    while start < len(raw):
        end = find_window_end(raw, start)
        window = raw[start:end]
        unescaped = window
        if b"\\" in window:
            unescaped = window.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = unescaped.split(b'"')
        yield window, b"".join(parts[1::2] if in_text else parts[::2])
        in_text ^= len(parts) % 2 == 0
        start = end


def find_window_end(raw: bytes, start: int) -> int:
    """Return the end of a window, never between a backslash and the character it escapes."""
    end = start + WINDOW_BYTES
    if raw[end - 1 : end] != b"\\":
        return end
    return len(raw) - len(raw[end:].lstrip(b"\\")) + 1
