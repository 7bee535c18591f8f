"""DRF's JSON parser with a limit on the structure of a body."""

import io
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import JSONParser

from api.schemas.json_body import NUL, refuse_nul
from api.schemas.json_cost import measure_structure


class BoundedJSONParser(JSONParser):
    """A JSON parser that refuses a body which is too costly to read, or has a NUL in a text."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read()
        measure_structure(raw)
        body = super().parse(io.BytesIO(raw), media_type, parser_context)
        if NUL in raw:
            refuse_nul(body, "")
        return body
