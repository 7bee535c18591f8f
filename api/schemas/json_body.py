"""JSON bodies: from bytes to a dict that keeps every field, or an error that explains the fault.

For every shape these are refused: invalid JSON, values that reading would lose, deep nesting, NUL
in texts, and fields that would choose a URL, header or credential. An error names the field in
`param`.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
import orjson
from msgspec import Struct, UnsetType

from api.schemas.json_cost import Structure, measure_structure
from providers.exceptions import InvalidJson, InvalidRequest
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject

T = TypeVar("T")
# fields that would let a caller choose the upstream or its credential
ROUTING_FIELDS = frozenset(
    """
    api_base base_url api_key api_version api_type extra_headers extra_body extra_query headers
    custom_host custom_llm_provider organization proxy aws_region_name vertex_credentials
    """.split()
)
INTEGER_BOUND = 2.0**63
INTEGER_CHARS = 20  # of the longest integers that are read without loss, with their sign
NUL = b"\\u0000"
REPEATED_NAME_MESSAGE = "The body has an object with a name given twice."
Maybe = UnsetType | None
# One thread: more would only compete with the event loop.
_executor = ThreadPoolExecutor(1, thread_name_prefix="json")


async def read_beside_loop(reader: Callable[[bytes], JsonObject], raw: bytes) -> JsonObject:
    """Return `reader(raw)`; a large body is read in a thread, so that the event loop goes on."""
    if len(raw) <= settings.JSON_INLINE_BYTES:
        return reader(raw)
    return await asyncio.get_running_loop().run_in_executor(_executor, reader, raw)


async def call_beside_loop(size_bytes: int, function: Callable[[], T]) -> T:
    """Return `function()`, called in the JSON thread when its body has many bytes.

    `size_bytes` is the size of the body whose content the function works on.
    """
    if size_bytes <= settings.JSON_INLINE_BYTES:
        return function()
    return await asyncio.get_running_loop().run_in_executor(_executor, function)


def parse_json_body(raw: bytes, shape: type[Struct]) -> JsonObject:
    """Return the body, checked against this shape.

    Raises InvalidJson, or InvalidRequest, also for fields that would choose where the request goes.
    """
    structure = None
    if may_be_costly(raw):
        structure = measure_structure(raw)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise InvalidJson("The body must be a JSON object.")
    if NUL in raw:
        refuse_nul(body, "")
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise invalid_value_error(str(error)) from None
    refuse_lossy(body, raw, structure)
    if not ROUTING_FIELDS.isdisjoint(body):
        field = min(ROUTING_FIELDS & body.keys())
        raise InvalidRequest(
            f"The field {field!r} is not accepted here.", param=field, code="unknown_parameter"
        )
    return body


def may_be_costly(raw: bytes) -> bool:
    """Return whether the body has to be measured: small and flat bodies are always cheap."""
    if len(raw) > min(settings.JSON_INLINE_BYTES, settings.JSON_ITEMS):
        return True
    return bool(raw.count(b"[") + raw.count(b"{") > settings.JSON_DEPTH)


def refuse_long_list(body: JsonObject, field: str, limit: int) -> None:
    """Raise InvalidRequest when the list in this field has more than `limit` items."""
    items = body.get(field)
    if isinstance(items, list) and len(items) > limit:
        raise InvalidRequest(f"{field!r} has at most {limit} items, not {len(items)}.", param=field)


def missing_parameter_error(param: str, message: str = "") -> InvalidRequest:
    message = message or f"Missing required parameter: {param!r}."
    return InvalidRequest(message, param=param, code="missing_required_parameter")


def invalid_value_error(message: str) -> InvalidRequest:
    """Return the error for msgspec's message (`Expected … - at `$.messages[0].role``)."""
    text, _, path = message.partition(" - at `")
    param = path.rstrip("`").removeprefix("$").lstrip(".").replace("[...]", "") or None
    if text.startswith("Object missing required field"):
        name = text.split("`")[1]
        return missing_parameter_error(f"{param}.{name}" if param else name)
    field = f" for {param!r}" if param else ""
    is_wrong_type = text.startswith("Expected `") and " got " in text
    return InvalidRequest(
        f"Invalid value{field}: {text[0].lower()}{text[1:]}.",
        param=param,
        code="invalid_type" if is_wrong_type else "invalid_value",
    )


def refuse_lossy(body: JsonObject, raw: bytes, structure: Structure | None) -> None:
    """Raise InvalidJson when reading lost something: a repeated name, or an integer beyond 64 bits.

    The number of names in the tree is compared with that in the text. These are the colons outside
    of texts if they have been counted, or else the `":` that no text contains. When a blank or a
    backslash makes the latter uncertain, the text is read again.
    """
    name_count, has_large_number = count_names(body)
    if has_large_number:
        json.loads(raw, parse_int=refuse_large_integer)
    if structure is not None:
        if name_count != structure.names:
            raise InvalidJson(REPEATED_NAME_MESSAGE)
        return
    is_uncertain = b'" :' in raw or b'\\\\":' in raw
    if is_uncertain or name_count != raw.count(b'":') - raw.count(b'\\":'):
        json.loads(raw, object_pairs_hook=refuse_repeated_names)


def count_names(body: JsonObject) -> tuple[int, bool]:
    """Return how many names the objects of the body have together, and whether a float is large.

    A large float may have been written as an integer beyond 64 bits, which lost its last digits.
    """
    name_count = 0
    has_large_number = False
    stack: list[object] = [body]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            name_count += len(value)
            stack.extend(value.values())
        elif type(value) is list:
            stack.extend(value)
        elif type(value) is float and not -INTEGER_BOUND < value < INTEGER_BOUND:
            has_large_number = True
    return name_count, has_large_number


def refuse_large_integer(text: str) -> int:
    """Return the integer. Raises InvalidJson when it is beyond 64 bits.

    A number with a fraction or an exponent is no integer, and loses nothing.
    """
    if len(text) <= INTEGER_CHARS and -INTEGER_BOUND <= int(text) < 2 * INTEGER_BOUND:
        return int(text)
    raise InvalidJson("The body has an integer beyond 64 bits: write it with an exponent (1e20).")


def refuse_repeated_names(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidJson(REPEATED_NAME_MESSAGE)


def refuse_nul(value: object, path: str) -> None:
    """Raise InvalidRequest when a text in `value` has a NUL.

    No database and few upstreams can take one.
    """
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequest("A text has a NUL character.", param=path.lstrip(".") or None)
    if isinstance(value, dict):
        for name, item in value.items():
            refuse_nul(name, path)
            refuse_nul(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_nul(item, f"{path}[{index}]")
