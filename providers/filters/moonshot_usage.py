"""Token counts of upstreams: sum them up, and rewrite those of Moonshot's services. No I/O.

In Moonshot's streams the last chunk has the usage inside its choice, and cached tokens stand beside
the other counts instead of below `prompt_tokens_details`. Source: Moonshot's API documentation,
"Chat completions" and "Context caching".
"""

from typing import Any

from providers.protocol.chunks import Chunk


def lift(chunk: Chunk) -> Chunk:
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


def sum_usage(first: Any, second: Any) -> Any:
    """Add up two usage objects of OpenAI's form, or two values of one, at any depth.

    Counts are added. A flag is set when it is set in one of them (`"estimated": true`). Of anything
    else, for example a service tier, the second value is kept unless it is None.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: sum_usage(first.get(name), value) for name, value in second.items()}
    if any(isinstance(value, bool) for value in (first, second)):
        return first or second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first + second
    return first if second is None else second
