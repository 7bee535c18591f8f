"""The message object, its usage and the reason why it stopped.

Source: Anthropic's API reference, "Create a Message".
"""

from collections.abc import Container

from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import TokenUsage, parse_usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# fields of a choice in which servers name the stop sequence: vLLM's, SGLang's
STOP_TEXT_FIELDS = ("stop_reason", "matched_stop")
NO_COUNTS = TokenUsage()


def build_message(
    message_id: str,
    model: str,
    content: list[JsonObject],
    stop: JsonObject,
    usage: JsonObject,
) -> JsonObject:
    """Return a message object; `stop` is that of `build_stop`."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        **stop,
        "usage": usage,
    }


def build_stop(reason: str | None, stop_text: str | None = None) -> JsonObject:
    """Return the fields of a message, or of its last delta, about why it stopped."""
    details = None
    if reason == "refusal":
        details = {"type": "refusal", "category": None, "explanation": None}
    return {
        "container": None,
        "stop_reason": reason,
        "stop_sequence": stop_text,
        "stop_details": details,
    }


def find_stop_text(choice: JsonObject, sequences: Container[str]) -> str | None:
    """Return the stop sequence that ended a choice, if its server names one of the request's."""
    for name in STOP_TEXT_FIELDS:
        text = choice.get(name)
        if isinstance(text, str) and text in sequences:
            return text
    return None


def render_counts(counts: TokenUsage | None) -> JsonObject:
    """Return token counts in Anthropic's form: input tokens are without those of a cache."""
    counts = counts or NO_COUNTS
    return {
        "input_tokens": max(0, counts.prompt - counts.cached - counts.cache_write),
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.completion,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
        "server_tool_use": None,
    }


def render_message_usage(counts: TokenUsage | None) -> JsonObject:
    """Return the usage of a message object."""
    return render_counts(counts) | {
        "cache_creation": None,  # only Anthropic's upstreams say how long what is written lasts
        "inference_geo": None,
        "service_tier": "standard",
    }


def read_early_usage(usage: object) -> TokenUsage | None:
    """Return the counts that a stream's first chunk brings, or None."""
    return parse_usage(usage) if usage else None
