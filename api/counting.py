"""How many tokens a request took: as the upstream says, else counted here and marked as an estimate.

Other vocabularies than the one that is used here (`tokenizer.py`) differ by some per cent, hence "estimated".
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from django.conf import settings

from api import tokenizer
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
    size = prompt.chars + sum(map(len, trace.text)) + sum(map(len, thought(trace)))
    if size <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
        return estimate(prompt, trace)
    return await tokenizer.in_thread(partial(estimate, prompt, trace))


def rough(trace: Trace) -> Usage:
    """A guess by length, for a request that cannot wait for counting; the upstream's figures where there are any."""
    found = reported(trace.usage)
    if found is not None or trace.answered_by is None:
        return found or Usage()
    prompt = asked(trace)
    said = sum(map(len, trace.text)) + trace.unkept_text
    thoughts = sum(map(len, thought(trace))) + trace.unkept_reasoning
    tokens = prompt.chars // 4 + prompt.tokens
    return Usage(tokens, (said + thoughts) // 4, thoughts // 4, estimated=True)


@dataclass(slots=True)
class Prompt:
    """What upstreams had to read: texts, and besides them so many tokens."""

    texts: list[str] = field(default_factory=list)
    tokens: int = 0

    @property
    def chars(self) -> int:
        return sum(map(len, self.texts))

    def add_body(self, body: dict[str, Any]) -> None:
        """Add all that a body gives to read: messages, tools, prompt or input."""
        messages = body.get("messages") or ()
        self.tokens += PER_MESSAGE * len(messages)
        for message in messages:
            content = message.get("content")
            if isinstance(content, str):
                self.texts.append(content)
            elif content:
                self.texts.extend(part["text"] for part in content if isinstance(part.get("text"), str))
            self.texts.extend(as_json(call.get("function", "")) for call in message.get("tool_calls") or ())
        self.texts.extend(as_json(body[name]) for name in ("tools", "functions") if body.get(name))
        self._add_input(body.get("prompt"))
        self._add_input(body.get("input"))

    def _add_input(self, given: Any) -> None:
        """Add a text, a list of texts, or lists of token numbers."""
        for item in given if isinstance(given, list) else [given]:
            if isinstance(item, str):
                self.texts.append(item)
            elif isinstance(item, list):
                self.tokens += len(item)
            elif item:
                self.tokens += 1


def as_json(value: Any) -> str:
    """The JSON text of what an upstream reads as JSON."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return str(value)


def asked(trace: Trace) -> Prompt:
    """All that upstreams had to read for the request: its own question, and those of its strategy."""
    prompt = Prompt()
    for body in (trace.request.body, *(trace.further or ())):
        prompt.add_body(body)
    return prompt


def thought(trace: Trace) -> list[str]:
    """All thinking that was produced, shown or not."""
    return [*trace.reasoning, *(text for attempt in trace.attempts for text in attempt.unshown or ())]


def estimate(prompt: Prompt, trace: Trace, most_chars: int | None = None) -> Usage:
    """Count what the request took; inline without `most_chars`, which is that of `count_all`."""
    if most_chars is None:
        read = sum(map(tokenizer.count, prompt.texts))
        said, reasoning = (tokenizer.count("".join(texts)) for texts in (trace.text, thought(trace)))
    else:
        read = tokenizer.count_all(prompt.texts, most_chars).tokens
        said, reasoning = (
            tokenizer.count_all(["".join(texts)], most_chars).tokens for texts in (trace.text, thought(trace))
        )
    said += unkept(said, trace.text, trace.unkept_text)
    reasoning += unkept(reasoning, trace.reasoning, trace.unkept_reasoning)
    return Usage(read + prompt.tokens, said + reasoning, reasoning, estimated=True)


def unkept(tokens: int, kept: list[str], chars: int) -> int:
    """Estimate the tokens of so many characters that were not kept, as those of the kept ones are."""
    return round(tokens * chars / max(1, sum(map(len, kept)))) if chars else 0


async def of_body(body: dict[str, Any]) -> tokenizer.Count:
    """Tokens of a chat body's text, as they are estimated here."""
    prompt = Prompt()
    prompt.add_body(body)
    if prompt.chars <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
        return tokenizer.Count(sum(map(tokenizer.count, prompt.texts)) + prompt.tokens)
    found = await tokenizer.in_thread(partial(tokenizer.count_all, prompt.texts))
    return tokenizer.Count(found.tokens + prompt.tokens, found.exact)
