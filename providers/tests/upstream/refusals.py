"""Refusals of an upstream, and the errors that they become."""

from typing import Any

from providers.exceptions import UpstreamError
from providers.upstream.error_mapping import ERROR_CODES, map_error_answer

SECRET = "sk-made-up-0123456789abcdef"


def map_refusal(
    status: Any, error: dict[str, Any] | None = None, *, content_type: bytes = b"", secret: str = ""
) -> UpstreamError:
    """Return the error for an answer with this status, error object and content type."""
    headers = {b"content-type": content_type} if content_type else {}
    return map_error_answer(ERROR_CODES, status, error, headers, secret=secret)
