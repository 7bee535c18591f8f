"""Convert values of SQLite for Postgres, and values of both into one form to compare. No I/O.

A `kind` is the type that Postgres gives a column (`information_schema.columns.data_type`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from uuid import UUID

# a value of a row: of SQLite, in JSON, or as Postgres takes and gives it
Value = Any
REPLACEMENT = "\ufffd"  # in place of characters that Postgres cannot hold in a text
DIGEST_BYTES = 16
MODULUS = 1 << (8 * DIGEST_BYTES)
TEXT_TYPES = ("character varying", "text", "character")
INTEGER_TYPES = ("smallint", "integer", "bigint")


# --- from SQLite to Postgres --------------------------------------------------------------------
def convert_value(kind: str, value: Value) -> Value:
    """Return a value of SQLite as the type that such a column takes. Raises ValueError."""
    if value is None:
        return None
    return CONVERTERS.get(kind, str)(value)


def convert_text(value: object) -> str:
    return str(value).replace("\0", REPLACEMENT)


def convert_json(value: object) -> str:
    """Return JSON text that Postgres takes: without NUL and halves of surrogate pairs."""
    text = str(value)
    if "\\u" not in text and "\0" not in text:
        return text
    return json.dumps(clean_json(json.loads(text)), ensure_ascii=False)


def clean_json(value: Value) -> Value:
    if isinstance(value, str):
        return convert_text(value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    if isinstance(value, list):
        return [clean_json(entry) for entry in value]
    if isinstance(value, dict):
        return {clean_json(name): clean_json(entry) for name, entry in value.items()}
    return value


def convert_time_stamp(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:  # SQLite has no time zones: Django writes UTC
        return moment.replace(tzinfo=UTC)
    return moment


def convert_bytes(value: Value) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value)


CONVERTERS: dict[str, Callable[[Value], Value]] = {
    "boolean": bool,
    "uuid": lambda value: UUID(str(value)),
    "timestamp with time zone": convert_time_stamp,
    "date": lambda value: date.fromisoformat(str(value)),
    "time without time zone": lambda value: time.fromisoformat(str(value)),
    "interval": lambda value: timedelta(microseconds=int(value)),
    "numeric": lambda value: Decimal(str(value)),
    "double precision": float,
    "jsonb": convert_json,
    "bytea": convert_bytes,
    **dict.fromkeys(TEXT_TYPES, convert_text),
    **dict.fromkeys(INTEGER_TYPES, int),
}


# --- to compare ---------------------------------------------------------------------------------
def normalize_value(kind: str, value: Value) -> object:
    """Return a value in the one form that is the same for both databases."""
    if value is None:
        return None
    if kind == "jsonb":
        return normalize_json(json.loads(value, parse_float=Decimal, parse_int=Decimal))
    if kind == "inet":
        return str(ip_address(str(value).partition("/")[0]))
    if kind == "bytea":
        return hashlib.sha256(bytes(value)).hexdigest()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return str(value.normalize())
    if kind == "tsvector":
        return sorted(value)
    if isinstance(value, UUID | date | time | timedelta):
        return str(value)
    return value


def normalize_json(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value.normalize() + 0)
    if isinstance(value, list):
        return [normalize_json(entry) for entry in value]
    if isinstance(value, dict):
        return sorted((name, normalize_json(entry)) for name, entry in value.items())
    return f"{type(value).__name__} {value}"


def digest_rows(kinds: Sequence[str], rows: Iterable[Sequence[Value]]) -> tuple[int, str]:
    """Return the number of rows and their digest, which does not depend on their order."""
    total = 0
    count = 0
    for row in rows:
        values = [normalize_value(kind, value) for kind, value in zip(kinds, row, strict=True)]
        digest = hashlib.blake2b(
            repr(values).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES
        )
        total += int.from_bytes(digest.digest(), "big")
        count += 1
    return count, f"{total % MODULUS:0{2 * DIGEST_BYTES}x}"
