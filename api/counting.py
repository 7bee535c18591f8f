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
    """Return a plausible token count, or None: for `true`, NaN, parts of a token and numbers too large."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= HIGHEST else None


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
    cached = cached or as_count(usage.get("cached_tokens")) or 0
    return Usage(prompt, completion, reasoning or 0, cached, usage.get("estimated") is True)  # a strategy's guess


async def usage(trace: Trace) -> Usage:
    """The request's usage; texts are counted only when the upstream gave no figures. Nothing asked: nothing used."""
    found = reported(trace.usage)
    if found is not None:
        return found
    if trace.answered_by is None:
        return Usage(estimated=False)
    prompt = asked(trace)
    size = sum(map(len, prompt)) + sum(map(len, trace.text)) + sum(map(len, thought(trace)))
    if size <= settings.COUNT_INLINE_BYTES:
        return estimate(prompt, trace)
    return await asyncio.get_running_loop().run_in_executor(None, estimate, prompt, trace)


def rough(trace: Trace) -> Usage:
    """A guess by length, for a request that cannot wait for counting; the upstream's figures where there are any."""
    found = reported(trace.usage)
    if found is not None or trace.answered_by is None:
        return found or Usage()
    prompt, said = sum(map(len, asked(trace))), sum(map(len, trace.text))
    thoughts = sum(map(len, thought(trace)))
    return Usage(prompt // 4, (said + thoughts) // 4, thoughts // 4, estimated=True)


def asked(trace: Trace) -> list[str]:
    """All that upstreams had to read for the request: its own question, and those of its strategy."""
    return [text for body in (trace.request.body, *(trace.further or ())) for text in prompt_texts(body)]


def thought(trace: Trace) -> list[str]:
    """All thinking that was produced, shown or not."""
    return [*trace.reasoning, *(text for attempt in trace.attempts for text in attempt.unshown or ())]


def estimate(prompt: list[str], trace: Trace) -> Usage:
    reasoning = count("".join(thought(trace)))
    messages = sum(len(body.get("messages") or ()) for body in (trace.request.body, *(trace.further or ())))
    return Usage(
        prompt=read(prompt, messages),
        completion=count("".join(trace.text)) + reasoning,
        reasoning=reasoning,
        estimated=True,
    )


async def of_body(body: dict[str, Any]) -> int:
    """Tokens of a chat body's text, as they are estimated here."""
    prompt, messages = prompt_texts(body), len(body.get("messages") or ())
    if sum(map(len, prompt)) <= settings.COUNT_INLINE_BYTES:
        return read(prompt, messages)
    return await asyncio.get_running_loop().run_in_executor(None, read, prompt, messages)


def read(prompt: list[str], messages: int) -> int:
    """Tokens of what an upstream has to read."""
    return sum(map(count, prompt)) + PER_MESSAGE * messages


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
    texts.extend(str(body[name]) for name in ("tools", "functions") if body.get(name))
    for given in (body.get("prompt"), body.get("input")):
        items = given if isinstance(given, list) else [given]
        texts.extend(
            item if isinstance(item, str) else " x" * (len(item) if isinstance(item, list) else 1)
            for item in items
            if item
        )
    return texts
