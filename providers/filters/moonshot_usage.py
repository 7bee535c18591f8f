"""Rewrite the token counts of Moonshot's services. No I/O.

In Moonshot's streams the last chunk has the usage inside its choice, and cached tokens stand beside
the other counts instead of below `prompt_tokens_details`. Source: Moonshot's API documentation,
"Chat completions" and "Context caching".
"""

from providers.protocol.chunks import Chunk


def lift_usage(chunk: Chunk) -> Chunk:
    """Move the usage of a chunk or answer to the top, with `prompt_tokens_details`, in place."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        inner = choice.pop("usage", None) if isinstance(choice, dict) else None
        if isinstance(inner, dict) and not chunk.get("usage"):
            chunk["usage"] = inner
    usage = chunk.get("usage")
    if (
        isinstance(usage, dict)
        and type(usage.get("cached_tokens")) is int
        and not usage.get("prompt_tokens_details")
    ):
        usage["prompt_tokens_details"] = {"cached_tokens": usage["cached_tokens"]}
    return chunk
