"""The chat body that goes upstream, made from a response's body.

The caller's limit goes up as `max_tokens`: every upstream that speaks OpenAI's chat dialect knows
it, while several do not know `max_completion_tokens`. Fields that concern only the response object
(metadata, store, conversation …) stay here. Unknown fields go up unchanged.
"""

from collections.abc import Sequence

from api.responses.request import tools
from api.responses.request.schema import ResponseBody
from conversations.messages import input_to_items, items_to_chat
from conversations.messages.tool_order import pair_tool_calls
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

SHARED_FIELDS = frozenset(
    """
    model stream temperature top_p user safety_identifier prompt_cache_key service_tier
    reasoning_format mpr_candidates long_prompts
    """.split()
)  # fields with the same name in a chat body
RESPONSE_ONLY_FIELDS = frozenset(ResponseBody.__struct_fields__) - SHARED_FIELDS
LOGPROBS = "message.output_text.logprobs"


def build_chat_body(body: JsonObject, messages: Sequence[JsonObject]) -> JsonObject:
    """Return the chat body for a validated body without references.

    `messages` has the request's own messages and those before them. Raises InvalidRequest when
    there is nothing to answer, or when a tool answers that was not called.
    """
    chat_body = {
        name: value
        for name, value in body.items()
        if name not in RESPONSE_ONLY_FIELDS and value is not None
    }
    chat_body["messages"] = [*build_instructions(body), *pair_tool_calls(messages)]
    if not chat_body["messages"]:
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    chat_body |= build_limit_fields(body)
    chat_body |= build_text_fields(body)
    chat_body |= tools.build_tool_fields(body)
    return chat_body


def build_input_messages(body: JsonObject) -> list[JsonObject]:
    """Return the messages of the input."""
    return items_to_chat.entries_to_messages(
        input_to_items.entries_from_input(body.get("input") or [])
    )


def build_instructions(body: JsonObject) -> list[JsonObject]:
    """Return the system message of the instructions, which later turns do not repeat."""
    instructions = body.get("instructions")
    if not instructions:
        return []
    return [{"role": "system", "content": instructions}]


def build_limit_fields(body: JsonObject) -> JsonObject:
    """Return the fields that limit how much the model thinks and says."""
    effort = (body.get("reasoning") or {}).get("effort")
    fields = {"max_tokens": body.get("max_output_tokens"), "reasoning_effort": effort}
    return {name: value for name, value in fields.items() if value is not None}


def build_text_fields(body: JsonObject) -> JsonObject:
    """Return the fields about the form of the text: format, verbosity and log probabilities."""
    fields: JsonObject = {}
    text = body.get("text") or {}
    text_format = text.get("format") or {}
    if text_format.get("type") == "json_schema":
        schema = {
            name: value
            for name, value in text_format.items()
            if name != "type" and value is not None
        }
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif text_format.get("type") == "json_object":
        fields["response_format"] = {"type": "json_object"}
    if text.get("verbosity"):
        fields["verbosity"] = text["verbosity"]
    if body.get("top_logprobs"):
        fields["logprobs"] = True
        fields["top_logprobs"] = body["top_logprobs"]
    elif LOGPROBS in (body.get("include") or ()):
        fields["logprobs"] = True
    return fields
