"""Bodies that name no model: the model of the caller's API key takes its place.

O1-API's clients send no model, and OpenKimi ignored the one that they sent.
"""

from collections.abc import Callable

import orjson

from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject


def read_with_default_model(
    reader: Callable[[bytes], JsonObject], default_model: str, raw: bytes
) -> JsonObject:
    """Return `reader(raw)`; a body that names no model is read again with `default_model`.

    Raises InvalidJson, InvalidRequest.
    """
    try:
        return reader(raw)
    except InvalidRequest as error:
        is_model_missing = error.shown_code == "missing_required_parameter"
        if not default_model or not is_model_missing or error.param != "model":
            raise
    return reader(insert_model(raw, default_model))


def insert_model(raw: bytes, model: str) -> bytes:
    """Return a JSON object that has no model with this one as its first field."""
    fields = raw.lstrip().removeprefix(b"{").lstrip()
    separator = b"" if fields.startswith(b"}") else b","
    return b'{"model":%b%b%b' % (orjson.dumps(model), separator, fields)
