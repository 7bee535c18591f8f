"""DRF's parser of JSON, with a bound on what a body may consist of."""

import io
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import JSONParser

from api.schemas.json_body import NUL, refuse_nul
from api.schemas.json_cost import measure


class BoundedJSONParser(JSONParser):
    """Refuse a body that would be too much work before any of it is read, and one with a NUL in a
    text.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read()
        measure(raw)
        body = super().parse(io.BytesIO(raw), media_type, parser_context)
        if NUL in raw:
            refuse_nul(body, "")
        return body
