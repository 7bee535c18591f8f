"""The free text of a custom tool, which a chat upstream gets as a function's argument `input`.

The arguments of such a call are the JSON object {"input": "…"}. `CustomInputReader` decodes the
text in it while the arguments are still coming in. Models also make mistakes: arguments that are
no such object are taken as the text itself.
"""

import re

import orjson

OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
ENDING_OR_ESCAPE = re.compile(r'["\\]')
UNICODE_ESCAPE_CHARS = 6  # \uXXXX
HEX_DIGITS = re.compile(r"[0-9a-fA-F]{4}")
HIGH_SURROGATES = range(0xD800, 0xDC00)
LOW_SURROGATES = range(0xDC00, 0xE000)
SHORT_ESCAPES = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}


def write_custom_input(text: str) -> str:
    """Return the arguments of a function call that carry this text."""
    return orjson.dumps({"input": text}).decode()


def read_custom_input(arguments: str) -> str:
    """Return the text that the arguments of a whole call carry."""
    reader = CustomInputReader()
    return reader.add_piece(arguments) + reader.read_rest()


class CustomInputReader:
    """A reader of the arguments of one call, which come in pieces.

    All texts that `add_piece` and `read_rest` return, joined, are the input of the tool.
    """

    __slots__ = ("_has_ended", "_has_opened", "_unread")

    def __init__(self) -> None:
        self._unread = ""  # arguments that could not be decoded yet
        self._has_opened = False
        self._has_ended = False

    def add_piece(self, piece: str) -> str:
        """Return the text that this piece of the arguments brings."""
        if self._has_ended:
            return ""
        self._unread += piece
        if not self._has_opened:
            opening = OPENING.match(self._unread)
            if opening is None:
                return ""
            self._has_opened = True
            self._unread = self._unread[opening.end() :]
        return self._decode_unread()

    def read_rest(self) -> str:
        """Return the text that is left at the end of the arguments."""
        if self._has_opened:
            return ""
        return read_unusual_arguments(self._unread)

    def _decode_unread(self) -> str:
        """Decode the unread part of the JSON text, up to its end or an escape that is cut."""
        unread = self._unread
        texts: list[str] = []
        start = 0
        while mark := ENDING_OR_ESCAPE.search(unread, start):
            texts.append(unread[start : mark.start()])
            if mark[0] == '"':
                self._has_ended = True
                self._unread = ""
                return "".join(texts)
            text, start = decode_escape(unread, mark.start())
            if start == mark.start():
                self._unread = unread[start:]
                return "".join(texts)
            texts.append(text)
        texts.append(unread[start:])
        self._unread = ""
        return "".join(texts)


def decode_escape(text: str, start: int) -> tuple[str, int]:
    """Return the meaning of the escape at `start`, and the position behind it.

    The position is `start` itself when the escape is cut. An escape that JSON does not know stands
    for itself: models forget to double a backslash.
    """
    letter = text[start + 1 : start + 2]
    if not letter:
        return "", start
    if letter != "u":
        return SHORT_ESCAPES.get(letter, f"\\{letter}"), start + 2
    end = start + UNICODE_ESCAPE_CHARS
    if len(text) < end:
        return "", start
    number = read_unicode_escape(text, start)
    if number is None:
        return "\\u", start + 2
    if number in HIGH_SURROGATES:
        return decode_surrogate_pair(text, start, number)
    if number in LOW_SURROGATES:
        return "\ufffd", end
    return chr(number), end


def decode_surrogate_pair(text: str, start: int, high: int) -> tuple[str, int]:
    """Return the character of two escapes, the first of which stands at `start`."""
    middle = start + UNICODE_ESCAPE_CHARS
    end = middle + UNICODE_ESCAPE_CHARS
    if len(text) < end and "\\u".startswith(text[middle : middle + 2]):
        return "", start
    low = read_unicode_escape(text, middle)
    if low is None or low not in LOW_SURROGATES:
        return "\ufffd", middle
    low_bits = low - LOW_SURROGATES.start
    return chr(0x10000 + ((high - HIGH_SURROGATES.start) << 10) + low_bits), end


def read_unicode_escape(text: str, start: int) -> int | None:
    """Return the number of the escape at `start`, or None when there is none."""
    digits = text[start + 2 : start + UNICODE_ESCAPE_CHARS]
    if text[start : start + 2] != "\\u" or not HEX_DIGITS.fullmatch(digits):
        return None
    return int(digits, 16)


def read_unusual_arguments(arguments: str) -> str:
    """Return the text of arguments that do not begin with the field `input`."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("input"), str):
        return str(value["input"])
    return "" if value == {} else arguments
