"""The names of endpoints in usage records: the route without /v1/ and without ids."""

import re
from collections.abc import Iterator

from django.urls import URLPattern, get_resolver

LONGEST_NAME = 32  # in a usage record
PREFIX = "v1/"
PARAMETER = re.compile(r"<[^>]*>")


def name_endpoint(route: str) -> str:
    """Return the name of the endpoint with this route: `chat/completions`, `responses/*`."""
    return PARAMETER.sub("*", route).removeprefix(PREFIX)[:LONGEST_NAME]


def list_endpoint_names() -> list[str]:
    """Return the names of all relaying endpoints, which usage records can have."""
    return sorted({name_endpoint(str(pattern.pattern)) for pattern in iterate_relaying_patterns()})


def iterate_relaying_patterns() -> Iterator[URLPattern]:
    """Yield the URL patterns whose requests are relayed and so get usage records."""
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLPattern) and getattr(pattern.callback, "lean_methods", None):
            yield pattern
