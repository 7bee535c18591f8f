"""The types of JSON that was read and not checked against a schema."""

from typing import Any

JsonObject = dict[str, Any]
