"""Put the usage that an upstream reports where OpenAI has it. No I/O.

Moonshot's streams have it inside the last choice, Groq's below `x_groq` of the last chunk. Moonshot
has its cached tokens beside the other counts instead of below `prompt_tokens_details`. Source:
Moonshot's API documentation, "Chat completions" and "Context caching"; Groq's API reference.
"""

from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject


def lift_usage(chunk: Chunk) -> None:
    """Move the usage that a chunk or an answer has elsewhere to its top, in place."""
    choices = chunk.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and "usage" in choice:
                add_usage(chunk, choice.pop("usage"))
    groq_fields = chunk.get("x_groq")
    if isinstance(groq_fields, dict):
        add_usage(chunk, groq_fields.get("usage"))


def add_usage(chunk: Chunk, usage: JsonObject | None) -> None:
    """Add the usage to the chunk, unless that has one already."""
    if isinstance(usage, dict) and not chunk.get("usage"):
        chunk["usage"] = usage


def conform_moonshot_usage(chunk: Chunk) -> Chunk:
    """Move the usage of a chunk or answer to the top, with `prompt_tokens_details`, in place."""
    lift_usage(chunk)
    usage = chunk.get("usage")
    if (
        isinstance(usage, dict)
        and type(usage.get("cached_tokens")) is int
        and not usage.get("prompt_tokens_details")
    ):
        usage["prompt_tokens_details"] = {"cached_tokens": usage["cached_tokens"]}
    return chunk
