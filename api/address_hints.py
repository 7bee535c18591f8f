"""The error for an address that is no endpoint: it names the right address where there is one.

Most wrong addresses come from a wrong base URL of a client: one without /v1, with /v1 twice, with
an endpoint at its end, or with the path of another service before it.
"""

from urllib.parse import quote

from django.urls import ResolverMatch, resolve
from django.urls.exceptions import Resolver404

from providers.exceptions import UnknownUrl

UNKNOWN_URL_NAME = "unknown-url"  # the name of the route of all that is no endpoint under /v1/
SHOWN_PATH_CHARS = 200
REALTIME_PATH = "/v1/realtime"
MOST_SEGMENTS = 12  # of a path that is compared with the endpoints
BASE_URL_HINT = "The base URL of this API ends in /v1, without a slash behind it."
MESSAGES_HINT = "Clients of Anthropic's Messages API have a base URL without /v1."
MESSAGES_TEXT = "Of Anthropic's API there are /v1/messages, its count_tokens and /v1/models here."
BATCHES_TEXT = "Batches are here in OpenAI's form, at /v1/batches; their lines may be messages."
SOCKET_TEXT = "It is a WebSocket: its address begins with ws:// or wss://, and takes `model`."
# endpoints of OpenAI and others that clients ask for
FOREIGN_ENDPOINTS = frozenset(
    """
    assistants chatkit containers evals fine_tuning organization score skills threads vector_stores
    videos
    """.split()
)


def explain_unknown_address(method: str, path: str) -> UnknownUrl:
    """Return the error for a request to an address that is no endpoint."""
    shown_path = quote(path[:SHOWN_PATH_CHARS], safe="/:@%!$&'()*+,;=~")
    text = f"Unknown request URL: {method} {shown_path}. "
    segments = split_path(path)
    if segments[:2] == ["messages", "batches"]:
        return UnknownUrl(text + BATCHES_TEXT)
    if path == REALTIME_PATH:
        return UnknownUrl(text + SOCKET_TEXT)
    right_path = find_right_address(path)
    if right_path:
        hint = MESSAGES_HINT if right_path.startswith("/v1/messages") else BASE_URL_HINT
        return UnknownUrl(f"{text}Did you mean {right_path}? {hint}")
    if segments and segments[0] == "messages":
        return UnknownUrl(text + MESSAGES_TEXT)
    if segments and segments[0] in FOREIGN_ENDPOINTS:
        return UnknownUrl(f"{text}This gateway has no endpoint /v1/{segments[0]}.")
    return UnknownUrl(f"{text}{BASE_URL_HINT}")


def is_unknown_address(path: str) -> bool:
    """Return whether there is no endpoint and no page at this path."""
    match = resolve_path(path)
    return match is None or match.url_name == UNKNOWN_URL_NAME


def find_right_address(path: str) -> str:
    """Return the endpoint under /v1 that a wrong path ends with, or an empty text.

    An endpoint without a parameter in its address is preferred, and then the longest.
    """
    segments = split_path(path)[-MOST_SEGMENTS:]
    with_parameter = ""
    for start in range(len(segments)):
        right_path = "/v1/" + "/".join(segments[start:])
        match = resolve_path(right_path)
        if match is None or match.url_name == UNKNOWN_URL_NAME or right_path == path:
            continue
        if not match.kwargs:
            return right_path
        with_parameter = with_parameter or right_path
    return quote(with_parameter[:SHOWN_PATH_CHARS])


def split_path(path: str) -> list[str]:
    """Return the segments of a path without empty ones, and without `v1` at its beginning."""
    segments = [segment for segment in path.split("/") if segment]
    while segments and segments[0] == "v1":
        segments = segments[1:]
    return segments


def resolve_path(path: str) -> ResolverMatch | None:
    try:
        return resolve(path)
    except Resolver404:
        return None
