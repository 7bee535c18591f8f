"""Read a JSON object that a model left unfinished: cut at any place, or with stray commas.

The work grows with the length of the text, since it is done in the event loop. The library
json-repair is no choice here: its work grows with the square of a hostile text (16,000 characters
of `{"-"-"-"…` take five seconds), and 65,536 ordinary ones take 0.3 s.
"""

import json
import re

from providers.wire.json_reader import MOST_NESTING_LEVELS

DECODER = json.JSONDecoder(strict=False)  # models break lines in strings
OBJECT_START = re.compile(r'\{\s*"')
STRAY_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+"?)|,(?=\s*[}\]])', re.DOTALL)  # or a whole string
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?P<end>"?)|[{}\[\],]', re.DOTALL)
HALF_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*+)\\(?:u[0-9a-fA-F]{0,3})?\Z")
CLOSERS = {"{": "}", "[": "]"}


def close_first_object(text: str) -> tuple[str, ...]:
    """Return the first object of `text` as `close_json` does; () when there is none."""
    start = OBJECT_START.search(text)
    return () if start is None else close_json(text[start.start() :])


def decode_closed(text: str) -> object:
    """Return the object at the beginning of a text that was closed, None when it is no JSON."""
    try:
        value: object = DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
    return value


def close_json(text: str) -> tuple[str, ...]:
    """Return JSON that may be cut, closed at its end, and closed before its last comma.

    Commas before a closing bracket are left out. Returns () when it is nested deeper than
    MOST_NESTING_LEVELS.
    """
    text = STRAY_COMMA.sub(r"\1", text)
    comma = 0
    closers = closers_at_comma = ""  # of everything that is open, the innermost first
    for token in TOKEN.finditer(text):
        sign = token[0]
        if sign in CLOSERS:
            closers = CLOSERS[sign] + closers
            if len(closers) > MOST_NESTING_LEVELS:
                return ()
        elif sign in "}]":
            closers = closers[1:]
        elif sign == ",":
            comma = token.start()
            closers_at_comma = closers
        elif not token["end"]:  # a string that was cut: nothing comes after it
            text = HALF_ESCAPE.sub(r"\1", text) + '"'
    return text + closers, text[:comma] + closers_at_comma
