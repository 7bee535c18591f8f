"""The endpoints whose requests may be lines of a batch."""

from functools import cache

from django.urls import ResolverMatch, resolve

from api.address_hints import UNKNOWN_URL_NAME

# Each answers a POST with one JSON body. Source of the first four: OpenAI's API reference, "Create
# batch".
ENDPOINT_PATHS = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/messages",
)


@cache
def list_endpoints() -> tuple[str, ...]:
    """Return the paths that batches can have here."""
    return tuple(path for path in ENDPOINT_PATHS if find_view(path) is not None)


@cache
def find_view(path: str) -> ResolverMatch | None:
    """Return the view of a path; None where there is none."""
    match = resolve(path)
    return None if match.url_name == UNKNOWN_URL_NAME else match
