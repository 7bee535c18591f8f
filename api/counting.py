"""How many tokens a request took: as the upstream says, else counted here and marked as an estimate.

The vocabulary (o200k) is loaded when it is first needed: about 30 MB. Other vocabularies differ by some per cent,
hence "estimated".
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings

from providers.chat import Trace

HIGHEST = 10**9  # a larger figure is no token count
PER_MESSAGE = 4  # what OpenAI's chat format adds to each message


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request; `estimated` when they were counted here."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    estimated: bool = False

    def as_openai(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


def as_count(value: Any) -> int | None:
    """A plausible token count, or None."""
    return value if isinstance(value, int) and 0 <= value <= HIGHEST else None


def reported(usage: dict[str, Any] | None) -> Usage | None:
    """The upstream's own figures, or None when it gave none that can be believed."""
    if not isinstance(usage, dict):
        return None
    prompt = as_count(usage.get("prompt_tokens"))
    completion = as_count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    prompt_details, details = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = as_count(prompt_details.get("cached_tokens")) if isinstance(prompt_details, dict) else None
    reasoning = as_count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, completion, reasoning or 0, cached or as_count(usage.get("cached_tokens")) or 0)


async def usage(trace: Trace) -> Usage:
    """The request's usage; texts are counted only when the upstream gave no figures. Nothing asked: nothing used."""
    found = reported(trace.usage)
    if found is not None:
        return found
    if trace.answered_by is None:
        return Usage(estimated=False)
    prompt = prompt_texts(trace.request.body)
    size = sum(map(len, prompt)) + sum(map(len, trace.text)) + sum(map(len, trace.reasoning))
    if size <= settings.COUNT_INLINE_BYTES:
        return estimate(prompt, trace)
    return await asyncio.get_running_loop().run_in_executor(None, estimate, prompt, trace)


def rough(trace: Trace) -> Usage:
    """A guess by length, for a request that cannot wait for counting; the upstream's figures where there are any."""
    found = reported(trace.usage)
    if found is not None or trace.answered_by is None:
        return found or Usage()
    prompt, said = sum(map(len, prompt_texts(trace.request.body))), sum(map(len, trace.text))
    thought = sum(map(len, trace.reasoning))
    return Usage(prompt // 4, (said + thought) // 4, thought // 4, estimated=True)


def estimate(prompt: list[str], trace: Trace) -> Usage:
    reasoning = count("".join(trace.reasoning))
    messages = len(trace.request.body.get("messages") or ())
    return Usage(
        prompt=sum(map(count, prompt)) + PER_MESSAGE * messages,
        completion=count("".join(trace.text)) + reasoning,
        reasoning=reasoning,
        estimated=True,
    )


@cache
def vocabulary() -> Any:
    from splintr import Tokenizer

    return Tokenizer.from_pretrained("o200k_base")


def count(text: str) -> int:
    return len(vocabulary().encode_ordinary(text)) if text else 0


def prompt_texts(body: dict[str, Any]) -> list[str]:
    """All text that the upstream had to read: messages, tools, prompt or input."""
    texts: list[str] = []
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif content:
            texts.extend(part["text"] for part in content if isinstance(part.get("text"), str))
        texts.extend(str(call.get("function", "")) for call in message.get("tool_calls") or ())
    if body.get("tools"):
        texts.append(str(body["tools"]))
    for given in (body.get("prompt"), body.get("input")):
        items = given if isinstance(given, list) else [given]
        texts.extend(
            item if isinstance(item, str) else " x" * (len(item) if isinstance(item, list) else 1)
            for item in items
            if item
        )
    return texts
