"""Read whole numbers from text that a person or a program wrote in an address or a form."""

import re

DIGITS = re.compile(r"-?[0-9]{1,20}")


def parse_integer(text: str, least: int, most: int) -> int | None:
    """Return the whole number in `text`, or None unless it is one from `least` to `most`."""
    if not DIGITS.fullmatch(text):
        return None
    number = int(text)
    if not least <= number <= most:
        return None
    return number
