"""The parameters that all lists share."""

from api.openapi.endpoint import Parameter

PAGE_PARAMETERS = (
    Parameter("after", "The last id that is already known; the page goes on behind it."),
    Parameter(
        "limit", "How many at most; 20 if not given.", {"type": "integer", "minimum": 0}, example=20
    ),
    Parameter("order", "asc or desc, by time.", {"enum": ["asc", "desc"]}),
)
INCLUDE = Parameter(
    "include",
    "Big fields that are left out otherwise, for example reasoning.encrypted_content.",
    {"type": "array", "items": {"type": "string"}},
)
