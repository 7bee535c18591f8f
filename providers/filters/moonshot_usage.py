"""Rewrite the token counts of Moonshot's services. No I/O.

In Moonshot's streams the last chunk has the usage inside its choice, and cached tokens stand beside
the other counts instead of below `prompt_tokens_details`. Source: Moonshot's API documentation,
"Chat completions" and "Context caching".
"""

from providers.protocol.chunks import Chunk


def lift_usage(chunk: Chunk) -> Chunk:
    """Move the usage of a chunk or answer to the top, with `prompt_tokens_details`, in place."""
    choices = chunk.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            lift_choice_usage(chunk, choice)
    usage = chunk.get("usage")
    if (
        isinstance(usage, dict)
        and type(usage.get("cached_tokens")) is int
        and not usage.get("prompt_tokens_details")
    ):
        usage["prompt_tokens_details"] = {"cached_tokens": usage["cached_tokens"]}
    return chunk


def lift_choice_usage(chunk: Chunk, choice: object) -> None:
    """Move the usage of a choice to its chunk, unless the chunk has one already."""
    if isinstance(choice, dict):
        usage = choice.pop("usage", None)
        if isinstance(usage, dict) and not chunk.get("usage"):
            chunk["usage"] = usage
