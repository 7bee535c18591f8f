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
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts
from providers.protocol.request import NewCredential, UpstreamModel
from providers.upstream.error_mapping import ERROR_CODES
from providers.wire.jwt import read_claims, read_expiry

REFRESH_PATH = "api/auth/token/refresh"
ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,128}")
HEADER_VALUE_PATTERN = re.compile(r"[!-~]{1,200}")
UNEXPLAINED_FAILURE = "The upstream failed without saying why."
ERROR_FIELDS = ("code", "error_type", "message", "reason", "details")
CODE_FIELDS = ("reason", "error_type", "code", "type")  # may name the error, best first

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
    claims = read_claims(secret) or {}
    origin = urljoin(base_url, "/").rstrip("/")
    digits = int.from_bytes(hashlib.sha256(secret.encode()).digest()[:8], "big") % 10**18
    values = {
        "X-Msh-Platform": "web",
        "X-Msh-Device-Id": safe_header_value(claims.get("device_id")) or f"7{digits:018}",
        "X-Msh-Session-Id": safe_header_value(claims.get("ssid")) or f"1{digits:018}",
        "X-Traffic-Id": safe_header_value(claims.get("sub")),
        "Origin": origin,
        "Referer": f"{origin}/",
    }
    return "".join(f"{name}: {value}\r\n" for name, value in values.items() if value).encode(
        "ascii", "ignore"
    )


def safe_header_value(value: object) -> str:
    """Return a claim that a header can carry, or an empty string."""
    return value if isinstance(value, str) and HEADER_VALUE_PATTERN.fullmatch(value) else ""


def read_refreshed_tokens(answer: object) -> NewCredential:
    """Return the new pair of tokens from the answer to a refresh. Raises BadResponse.

    The refresh token that was sent is void then.
    """
    tokens = as_object(answer)
    access_token = tokens.get("access_token")
    if not isinstance(access_token, str) or not is_header_text(access_token):
        raise BadResponse("The upstream's answer has no access token.")
    refresh_token = tokens.get("refresh_token")
    if not isinstance(refresh_token, str):
        refresh_token = ""
    return NewCredential(access_token, refresh_token, read_expiry(access_token))


def is_header_text(text: str) -> bool:
    """Return whether a header can carry the text."""
    return bool(text) and text.isascii() and text.isprintable()


def safe_id(value: object) -> str:
    """Return an id of the site if it may stand in a path, or an empty string."""
    return value if isinstance(value, str) and ID_PATTERN.fullmatch(value) else ""


# --- errors ---------------------------------------------------------------------------------------
def read_kimi_error(body: object) -> JsonObject | None:
    """Return the error of a body or an event as {code, message}, or None.

    The forms are Connect's `{code, message, details}` and the older `{error_type, message}`, either
    of them below `error` or not.
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error") or body
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict) or error.keys().isdisjoint(ERROR_FIELDS):
        return None
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = UNEXPLAINED_FAILURE
    return {"code": choose_error_code(error), "message": message}


def choose_error_code(error: JsonObject) -> str:
    """Return the first name of an error that is known, else its first name; empty without one."""
    names = [*find_error_reasons(error), *(error.get(field) for field in CODE_FIELDS)]
    codes = [name for name in names if isinstance(name, str) and name]
    known_codes = [code for code in codes if code.lower() in ERRORS]
    return next(iter(known_codes + codes), "")


def find_error_reasons(error: JsonObject) -> Iterator[object]:
    """Yield the site's own words for an error: `details[].debug.reason`."""
    for detail in as_list(error.get("details")):
        yield as_object(as_object(detail).get("debug")).get("reason")


def as_object(value: object) -> JsonObject:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


# --- questions ------------------------------------------------------------------------------------
def wants_web_search(model: UpstreamModel) -> bool:
    """Return whether the site should search the web; by default it does."""
    if model.search:
        return model.search == "on"
    return bool(model.options.get("use_search", True))


def render_chat_text(messages: list[JsonObject]) -> str:
    """Join messages into one text of lines `role: text`; a single user message stays as it is."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return render_message(messages[0])
    return "\n".join(
        f"{render_speaker(message)}: {render_message(message)}" for message in messages
    )


def render_speaker(message: JsonObject) -> str:
    """Return who speaks: the role, and for a tool its name."""
    role: str = message["role"]
    if role in ("tool", "function"):
        return f"tool {message.get('name') or message.get('tool_call_id') or ''}".rstrip()
    return "system" if role == "developer" else role


def render_message(message: JsonObject) -> str:
    """Render a message as text: its content or refusal, and below it the calls it makes."""
    content = join_texts(message.get("content") or message.get("refusal"))
    functions = [
        call["function"] for call in message.get("tool_calls") or () if call.get("function")
    ]
    calls = (f"(calls {function['name']} with {function['arguments']})" for function in functions)
    return "\n".join(filter(None, (content, *calls)))
