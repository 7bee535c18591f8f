"""The common parts of Kimi's two web interfaces. No I/O.

These are the header lines, one text for a history, the errors, and a renewed session. The site
keeps the context itself and reads one user message per call. So a history is sent as one text of
lines `role: text`, unless the site has the chat already. Source: published clients of the site.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.protocol.message_text import join_texts
from providers.protocol.request import NewCredential, UpstreamModel
from providers.upstream.error_mapping import ERROR_CODES
from providers.wire.jwt import read_claims, read_expiry

Json = dict[str, Any]
REFRESH_PATH = "api/auth/token/refresh"
ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,128}")
HEADER_VALUE_PATTERN = re.compile(r"[!-~]{1,200}")
UNEXPLAINED_FAILURE = "The upstream failed without saying why."

# keys in lower case: Connect's codes, the site's own reasons and error types
ERRORS: dict[str, type[UpstreamError]] = ERROR_CODES | {
    "unauthenticated": AuthRejected,
    "permission_denied": AuthRejected,
    "auth.token.invalid": AuthRejected,
    "resource_exhausted": RateLimited,
    "chat.user_stream_pushing": RateLimited,  # the account has a running stream already
    "invalid_argument": Rejected,
    "out_of_range": Rejected,
    "failed_precondition": Rejected,
    "not_found": ModelMissing,
    "unimplemented": ServerFailed,
    "unavailable": ServerFailed,
    "internal": ServerFailed,
    "reason_completion_overloaded": ServerFailed,
}


# --- headers --------------------------------------------------------------------------------------
def build_header_lines(secret: str, base_url: str) -> bytes:
    """Return the header lines that the site's own pages send besides the token.

    Device and session are those of the token. A token that does not name them gets numbers derived
    from it, which stay the same.
    """
    said = read_claims(secret) or {}
    origin = urljoin(base_url, "/").rstrip("/")
    digits = int.from_bytes(hashlib.sha256(secret.encode()).digest()[:8], "big") % 10**18
    values = {
        "X-Msh-Platform": "web",
        "X-Msh-Device-Id": safe_header_value(said.get("device_id")) or f"7{digits:018}",
        "X-Msh-Session-Id": safe_header_value(said.get("ssid")) or f"1{digits:018}",
        "X-Traffic-Id": safe_header_value(said.get("sub")),
        "Origin": origin,
        "Referer": f"{origin}/",
    }
    return "".join(f"{name}: {value}\r\n" for name, value in values.items() if value).encode(
        "ascii", "ignore"
    )


def safe_header_value(value: Any) -> str:
    """Return a claim that a header can carry, or an empty string."""
    return value if isinstance(value, str) and HEADER_VALUE_PATTERN.fullmatch(value) else ""


def read_refreshed_tokens(answer: Any) -> NewCredential:
    """Return the new pair of tokens from the answer to a refresh. Raises BadResponse.

    The refresh token that was sent is void then.
    """
    access = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(access, str) or not (access and access.isascii() and access.isprintable()):
        raise BadResponse("The upstream's answer has no access token.")
    refresh = answer.get("refresh_token")
    return NewCredential(access, refresh if isinstance(refresh, str) else "", read_expiry(access))


def safe_id(value: Any) -> str:
    """Return an id of the site if it may stand in a path, or an empty string."""
    return value if isinstance(value, str) and ID_PATTERN.fullmatch(value) else ""


# --- errors ---------------------------------------------------------------------------------------
def read_kimi_error(body: Any) -> Json | None:
    """Return the error of a body or an event as {code, message}, or None.

    The forms are Connect's `{code, message, details}` and the older `{error_type, message}`, either
    of them below `error` or not.
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error") or body
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict) or not error.keys() & {
        "code",
        "error_type",
        "message",
        "reason",
        "details",
    }:
        return None
    names = [
        *find_error_reasons(error),
        *(error.get(name) for name in ("reason", "error_type", "code", "type")),
    ]
    named = [name for name in names if isinstance(name, str) and name]
    code = next((name for name in named if name.lower() in ERRORS), next(iter(named), ""))
    message = error.get("message")
    return {
        "code": code,
        "message": message if isinstance(message, str) and message else UNEXPLAINED_FAILURE,
    }


def find_error_reasons(error: Json) -> Iterator[Any]:
    """Yield the site's own words for an error: `details[].debug.reason`."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        debug = detail.get("debug") if isinstance(detail, dict) else None
        if isinstance(debug, dict):
            yield debug.get("reason")


def as_object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# --- questions ------------------------------------------------------------------------------------
def wants_web_search(model: UpstreamModel) -> bool:
    """Return whether the site should search the web; by default it does."""
    return model.search == "on" or (
        not model.search and bool(model.options.get("use_search", True))
    )


def render_chat_text(messages: list[Json]) -> str:
    """Join messages into one text of lines `role: text`; a single user message stays as it is."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return render_message(messages[0])
    return "\n".join(
        f"{render_speaker(message)}: {render_message(message)}" for message in messages
    )


def render_speaker(message: Json) -> str:
    role: str = message["role"]
    if role in ("tool", "function"):
        return f"tool {message.get('name') or message.get('tool_call_id') or ''}".rstrip()
    return "system" if role == "developer" else role


def render_message(message: Json) -> str:
    """Render a message as text: its content or refusal, and below it the calls it makes."""
    content = join_texts(message.get("content") or message.get("refusal"))
    functions = [
        call["function"] for call in message.get("tool_calls") or () if call.get("function")
    ]
    calls = (f"(calls {function['name']} with {function['arguments']})" for function in functions)
    return "\n".join(filter(None, (content, *calls)))
