"""Map the errors of the Messages API to the errors of the gateway. No I/O.

Most go by their type (`MESSAGES_ERRORS`). A used-up credit or spend limit has the type of a bad
request or of a rate limit, and shows only in the message or the code of the details. Sources:
Anthropic's API reference, "Errors" and "Rate limits"; the error codes of its published clients.
"""

import re

from providers.exceptions import (
    AuthRejected,
    ModelMissing,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.protocol.json_types import JsonObject
from providers.upstream.error_mapping import ERROR_CODES

MESSAGES_ERRORS: dict[str, type[UpstreamError]] = ERROR_CODES | {
    "authentication_error": AuthRejected,
    "permission_error": AuthRejected,
    "billing_error": QuotaExhausted,
    "not_found_error": ModelMissing,
    "request_too_large": Rejected,
    "rate_limit_error": RateLimited,
    "api_error": ServerFailed,
    "timeout_error": ServerFailed,
    "gateway_timeout_error": ServerFailed,
    "overloaded_error": ServerFailed,
    # codes of the details
    "contract_spend_limit_reached": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "linked_organization_spend_limit_reached": QuotaExhausted,
    "linked_organization_billing_unavailable": QuotaExhausted,
    "organization_on_hold": AuthRejected,
    "ramp_limit_exceeded": RateLimited,
}
# refusals of a request that are about the account, by their words
ACCOUNT_MESSAGES: tuple[tuple[re.Pattern[str], type[UpstreamError]], ...] = (
    (re.compile(r"credit balance is too low|api usage limits", re.IGNORECASE), QuotaExhausted),
    (re.compile(r"organization has been disabled", re.IGNORECASE), AuthRejected),
)
# "messages.1.content.0.text: …" names the field that is at fault
FIELD_PATTERN = re.compile(r"([a-z_]+)(?:\.[\w.]+)?: ", re.ASCII)
# fields of a Messages body -> those of the chat body from which they were made
CHAT_FIELDS = {
    "messages": "messages",
    "system": "messages",
    "max_tokens": "max_tokens",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop_sequences": "stop",
    "thinking": "reasoning_effort",
    "output_config": "response_format",
    "metadata": "user",
}


def name_error_code(error: JsonObject) -> JsonObject:
    """Return an error object with the code of its details as its code."""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    if isinstance(code, str) and "code" not in error:
        return error | {"code": code}
    return error


def sharpen_error(error: UpstreamError) -> UpstreamError:
    """Return the error that a refusal means by its words; its `param` is a field of a chat body."""
    if not isinstance(error, Rejected):
        return error
    for pattern, error_class in ACCOUNT_MESSAGES:
        if pattern.search(error.message):
            replacement = error_class(error.message)
            replacement.upstream_status = error.upstream_status
            return replacement
    if not error.param and (match := FIELD_PATTERN.match(error.message)):
        error.param = CHAT_FIELDS.get(match[1])
    return error
