"""Switches of one request that come as headers, for clients whose body cannot be changed."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from providers.choices import LongPrompts
from providers.exceptions import InvalidRequest
from providers.protocol.request import ChatRequest

LONG_PROMPTS_HEADER = "HTTP_X_LONG_PROMPTS"
LONG_PROMPTS_NAME = "X-Long-Prompts"


def apply_header_switches(chat_request: ChatRequest, meta: Mapping[str, Any]) -> ChatRequest:
    """Return the request with the switches of its headers; a field of the body counts more.

    `meta` has the headers as Django names them. Raises InvalidRequest.
    """
    policy = meta.get(LONG_PROMPTS_HEADER)
    if policy is None:
        return chat_request
    policy = str(policy).strip().lower()
    if policy not in LongPrompts.values:
        values = " or ".join(LongPrompts.values)
        raise InvalidRequest(f"{LONG_PROMPTS_NAME} is {values}.", param=LONG_PROMPTS_NAME)
    return structs.replace(chat_request, long_prompts=chat_request.long_prompts or policy)
