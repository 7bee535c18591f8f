"""Read JSON from outside into values that can be written again. No I/O.

orjson reads valid JSON. JSON that only Python's reader accepts (lone surrogates, invalid UTF-8,
bare control characters) is read with the unreadable characters replaced by U+FFFD. Numbers beyond
64 bits become floats.
"""

import json
import math
from typing import Any

import orjson

DEEPEST = 200  # levels of nesting; orjson reads 1,024 but writes only 254


def loads(data: bytes) -> Any:
    """Return the JSON value.

    Raises ValueError if it is not JSON, is nested too deep, or has an infinite number.
    """
    value, exact = _read(data)
    return value if exact else readable(value)


def loads_raw(data: bytes) -> Any:
    """Return the JSON value with lone surrogates unchanged, for a caller that can join them.

    Raises ValueError like `loads`.
    """
    return _read(data)[0]


def _read(data: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether it can be written again as it is."""
    try:
        value = orjson.loads(data)
        exact = True
    except orjson.JSONDecodeError:
        reader = json.JSONDecoder(
            strict=False, parse_constant=_refuse, parse_float=_finite, parse_int=_number
        )
        try:
            value = reader.decode(data.decode("utf-8-sig", "replace"))
            exact = False
        except RecursionError as error:
            raise ValueError("nested too deep") from error
    if data.count(b"[") + data.count(b"{") > DEEPEST and deeper_than(value, DEEPEST):
        raise ValueError("nested too deep")
    return value, exact


def deeper_than(value: Any, levels: int) -> bool:
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is infinite")
    return value


def _number(text: str) -> int | float:
    value = int(text) if len(text) < 25 else float(text)
    return value if -(2**63) <= value < 2**64 and isinstance(value, int) else _finite(text)


def readable(value: Any) -> Any:
    """Return `value` with surrogate pairs joined and each lone surrogate replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, dict):
        return {readable(name): readable(item) for name, item in value.items()}
    return value
