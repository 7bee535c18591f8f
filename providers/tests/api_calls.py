"""Calls of an `ApiClient` as its tests make them."""

from typing import Any

from providers.network.api_client import ApiCall
from providers.network.target import Timeouts
from proxysite.testing.upstream import encode_response_head

LIMIT_BYTES = 10_000
OK = encode_response_head(200, {"content-length": "2"}) + b"ok"


def make_call(url: str, method: str = "GET", path: str = "x", **changes: Any) -> ApiCall:
    """A call to `url` that may go to private addresses, unless `changes` say otherwise."""
    fields = {
        "allow_private": True,
        "timeouts": Timeouts(2, 2, 2, 2, 2),
        "total_seconds": 4.0,
        "answer_bytes": LIMIT_BYTES,
    }
    return ApiCall.from_path(method, url, path, **(fields | changes))
