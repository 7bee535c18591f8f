"""The types of JSON that was read and not checked against a schema."""

from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]
FrozenJsonObject = Mapping[str, Any]  # an object that nobody changes
