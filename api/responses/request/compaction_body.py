"""The body of /v1/responses/compact: that of a response, without what only an answer has.

Fields that say nothing about a compaction, such as tools, are taken and not looked at: agents send
the body of their next request. Source: OpenAI's API reference, "Compact a response".
"""

from api.responses.request import schema, to_chat
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

# what makes the answer something else than one object that is returned at once
UNSUPPORTED_FIELDS = ("background", "conversation", "stream")
# of the chat body, beside the messages
UPSTREAM_FIELDS = frozenset(
    """
    model user safety_identifier prompt_cache_key prompt_cache_retention service_tier seed
    temperature top_p long_prompts
    """.split()
)


def read_compaction_body(raw: bytes) -> JsonObject:
    """Return the validated body.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    body = schema.read_response_body(raw)
    for name in UNSUPPORTED_FIELDS:
        if body.get(name):
            raise InvalidRequest(
                f"{name!r} is not supported when a conversation is compacted.",
                param=name,
                code="unsupported_parameter",
            )
    return body


def build_chat_body(body: JsonObject, messages: list[JsonObject]) -> JsonObject:
    """Return the chat body that asks for the summary; its thinking is not part of it."""
    fields = {
        name: value for name, value in body.items() if name in UPSTREAM_FIELDS and value is not None
    }
    limits = to_chat.build_limit_fields(body)
    return fields | limits | {"messages": messages, "reasoning_format": "hidden"}
