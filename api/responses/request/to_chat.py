"""The chat body that goes upstream, made from a response's body.

The caller's limit goes up as `max_tokens`: every upstream that speaks OpenAI's chat dialect knows
it, while several do not know `max_completion_tokens`. Fields that concern only the response object
(metadata, store, conversation …) stay here. Unknown fields go up unchanged.
"""

from collections.abc import Sequence
from typing import Any

from api.responses.request import tools
from api.responses.request.schema import ResponseBody
from conversations.messages import items
from conversations.messages.tool_order import pair_tool_calls
from providers.exceptions import InvalidRequest

SHARED_FIELDS = frozenset(
    """
    model stream temperature top_p user safety_identifier prompt_cache_key service_tier
    reasoning_format mpr_candidates
    """.split()
)  # fields with the same name in a chat body
RESPONSE_ONLY_FIELDS = frozenset(ResponseBody.__struct_fields__) - SHARED_FIELDS
LOGPROBS = "message.output_text.logprobs"


def build_chat_body(body: dict[str, Any], messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the chat body for a validated body without references.

    `messages` has the request's own messages and those before them. Raises InvalidRequest when
    there is nothing to answer, or when a tool answers that was not called.
    """
    found = {
        name: value
        for name, value in body.items()
        if name not in RESPONSE_ONLY_FIELDS and value is not None
    }
    found["messages"] = [*build_instructions(body), *pair_tool_calls(messages)]
    if not found["messages"]:
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    return (
        found | build_limit_fields(body) | build_text_fields(body) | tools.build_tool_fields(body)
    )


def build_input_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of the input."""
    return items.entries_to_messages(items.entries_from_input(body.get("input") or []))


def build_instructions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the system message of the instructions, which later turns do not repeat."""
    given = body.get("instructions")
    return [{"role": "system", "content": given}] if given else []


def build_limit_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that limit how much the model thinks and says."""
    effort = (body.get("reasoning") or {}).get("effort")
    found = {"max_tokens": body.get("max_output_tokens"), "reasoning_effort": effort}
    return {name: value for name, value in found.items() if value is not None}


def build_text_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields about the form of the text: format, verbosity and log probabilities."""
    found: dict[str, Any] = {}
    text = body.get("text") or {}
    given = text.get("format") or {}
    if given.get("type") == "json_schema":
        schema = {
            name: value for name, value in given.items() if name != "type" and value is not None
        }
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif given.get("type") == "json_object":
        found["response_format"] = {"type": "json_object"}
    if text.get("verbosity"):
        found["verbosity"] = text["verbosity"]
    if body.get("top_logprobs") or LOGPROBS in (body.get("include") or ()):
        found["logprobs"] = True
        if body.get("top_logprobs"):
            found["top_logprobs"] = body["top_logprobs"]
    return found
