"""Token counts as Moonshot's services write them -> as OpenAI does: no I/O.

A stream's last chunk has them inside its choice, and cached tokens stand beside the other counts instead of below
`prompt_tokens_details`. Source: Moonshot's API documentation, "Chat completions" and "Context caching".
"""

from collections.abc import Iterable
from typing import Any

from providers.chat import Chunk


def lift(chunk: Chunk) -> Chunk:
    """The same chunk or answer, mended in place: its usage at the top, with `prompt_tokens_details`."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        inner = choice.pop("usage", None) if isinstance(choice, dict) else None
        if isinstance(inner, dict) and not chunk.get("usage"):
            chunk["usage"] = inner
    usage = chunk.get("usage")
    if isinstance(usage, dict) and type(usage.get("cached_tokens")) is int and not usage.get("prompt_tokens_details"):
        usage["prompt_tokens_details"] = {"cached_tokens": usage["cached_tokens"]}
    return chunk


def summed(usages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The counts of several calls together; what is no number is left out."""
    total: dict[str, Any] = {}
    for usage in usages:
        for name, value in usage.items():
            if isinstance(value, dict):
                total[name] = summed((total.get(name) or {}, value))
            elif isinstance(value, int | float):
                total[name] = total.get(name, 0) + value
    return total
