"""Read JSON from outside into values that can be written again. No I/O.

orjson reads valid JSON. JSON that only Python's reader accepts (lone surrogates, invalid UTF-8,
bare control characters) is read with the unreadable characters replaced by U+FFFD. Numbers beyond
64 bits become floats.
"""

import json
import math
from typing import Any

import orjson

MOST_NESTING_LEVELS = 200  # levels of nesting; orjson reads 1,024 but writes only 254
MOST_INTEGER_CHARS = 25  # longer numbers have more than 64 bits


def read_json(data: bytes) -> Any:
    """Return the JSON value.

    Raises ValueError if it is not JSON, is nested too deep, or has an infinite number.
    """
    value, is_exact = _decode_json(data)
    return value if is_exact else repair_surrogates(value)


def read_raw_json(data: bytes) -> Any:
    """Return the JSON value with lone surrogates unchanged, for a caller that can join them.

    Raises ValueError like `read_json`.
    """
    return _decode_json(data)[0]


def _decode_json(data: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether it can be written again as it is."""
    try:
        value = orjson.loads(data)
        is_exact = True
    except orjson.JSONDecodeError:
        value = _decode_lenient_json(data)
        is_exact = False
    if data.count(b"[") + data.count(b"{") > MOST_NESTING_LEVELS and is_deeper_than(
        value, MOST_NESTING_LEVELS
    ):
        raise ValueError("nested too deep")
    return value, is_exact


def _decode_lenient_json(data: bytes) -> Any:
    """Return the value of JSON that only Python's reader accepts."""
    decoder = json.JSONDecoder(
        strict=False,
        parse_constant=_refuse_constant,
        parse_float=_parse_finite_float,
        parse_int=_parse_bounded_number,
    )
    try:
        return decoder.decode(data.decode("utf-8-sig", "replace"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_deeper_than(value: object, levels: int) -> bool:
    """Return whether lists and objects are nested in more than `levels` levels."""
    layer = [value]
    for _ in range(levels + 1):
        inner = (
            item.values() if isinstance(item, dict) else item
            for item in layer
            if isinstance(item, dict | list)
        )
        layer = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not layer:
            return False
    return True


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _parse_finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is infinite")
    return value


def _parse_bounded_number(text: str) -> int | float:
    """Return a whole number, as a float beyond 64 bits."""
    if len(text) < MOST_INTEGER_CHARS:
        number = int(text)
        if -(2**63) <= number < 2**64:
            return number
    return _parse_finite_float(text)


def repair_surrogates(value: Any) -> Any:
    """Return `value` with surrogate pairs joined and each lone surrogate replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [repair_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {repair_surrogates(name): repair_surrogates(item) for name, item in value.items()}
    return value
