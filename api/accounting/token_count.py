"""Token counts of a request: the upstream's figures, or else our own count.

Texts are counted exactly in one vocabulary (`tokenizer.py`). Those of other models differ from it
by some per cent, so our own counts are marked as estimated. A request that cannot wait for counting
is estimated by length and script (`conversations/text/token_estimate.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings

from api.accounting import tokenizer
from conversations.text.token_estimate import CHARS_PER_TOKEN, MESSAGE_TOKENS, estimate_texts
from providers.protocol.message_text import list_prompt_texts
from providers.protocol.trace import Trace

HIGHEST = 10**9  # a larger figure is no token count
Measure = Callable[[Sequence[str]], int]  # texts -> their tokens


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts of one request; `estimated` when they were counted here."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    estimated: bool = False

    def as_openai(self) -> dict[str, Any]:
        """Return the counts in OpenAI's form."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


@dataclass(slots=True)
class Prompt:
    """The input that upstreams read: texts, and `tokens` for everything that is not text."""

    texts: list[str] = field(default_factory=list)
    tokens: int = 0

    @property
    def chars(self) -> int:
        """Return the number of characters of the texts."""
        return sum(map(len, self.texts))

    def add_body(self, body: dict[str, Any]) -> None:
        """Add the input of a request body: messages, tools, prompt or input."""
        self.tokens += MESSAGE_TOKENS * len(body.get("messages") or ())
        self.texts += list_prompt_texts(body)
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


def as_count(value: Any) -> int | None:
    """Return a plausible token count, or None.

    None stands for `true`, NaN, fractions of a token and numbers beyond HIGHEST.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= HIGHEST else None


def reported(usage: dict[str, Any] | None) -> Usage | None:
    """Return the upstream's own figures, or None when it gave none that are plausible."""
    if not isinstance(usage, dict):
        return None
    prompt = as_count(usage.get("prompt_tokens"))
    completion = as_count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    prompt_details = usage.get("prompt_tokens_details")
    details = usage.get("completion_tokens_details")
    cached = (
        as_count(prompt_details.get("cached_tokens")) if isinstance(prompt_details, dict) else None
    )
    reasoning = as_count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    cached = cached or as_count(usage.get("cached_tokens")) or 0
    return Usage(
        prompt, completion, reasoning or 0, cached, usage.get("estimated") is True
    )  # a strategy's guess


async def count_request(trace: Trace) -> Usage:
    """Count the tokens of a request; its texts only when the upstream gave no figures.

    A request that no upstream answered took none.
    """
    found = reported(trace.usage)
    if found is not None:
        return found
    if trace.answered_by is None:
        return Usage(estimated=False)
    prompt = collect_prompt(trace)
    size = prompt.chars + sum(map(len, trace.text)) + sum(map(len, collect_thinking(trace)))
    if size <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
        return measure_request(prompt, trace, tokenizer.count_short)
    return await tokenizer.in_thread(partial(count_in_thread, prompt, trace))


def count_in_thread(prompt: Prompt, trace: Trace, most_chars: int) -> Usage:
    """Count texts of any size in the counting thread; `most_chars` is for `tokenizer.count_all`."""

    def measure(texts: Sequence[str]) -> int:
        return tokenizer.count_all(texts, most_chars).tokens

    return measure_request(prompt, trace, measure)


def estimate_request(trace: Trace) -> Usage:
    """Estimate the tokens of a request that cannot wait for counting.

    The upstream's figures are used where it gave any.
    """
    found = reported(trace.usage)
    if found is not None or trace.answered_by is None:
        return found or Usage()
    measure = partial(estimate_texts, most_chars=settings.COUNT_INLINE_BYTES)
    return measure_request(collect_prompt(trace), trace, measure)


def measure_request(prompt: Prompt, trace: Trace, measure: Measure) -> Usage:
    """Return the token counts of a request, with its texts counted by `measure`."""
    read = measure(prompt.texts)
    said = measure(["".join(trace.text)])
    thoughts = collect_thinking(trace)
    reasoning = measure(["".join(thoughts)])
    said += extrapolate(said, trace.text, trace.unkept_text)
    reasoning += extrapolate(reasoning, thoughts, trace.unkept_reasoning)
    return Usage(read + prompt.tokens, said + reasoning, reasoning, estimated=True)


def extrapolate(tokens: int, kept: list[str], chars: int) -> int:
    """Estimate the tokens of `chars` characters that were not kept, from the kept texts."""
    if not chars:
        return 0
    kept_chars = sum(map(len, kept))
    return round(tokens * chars / kept_chars) if kept_chars else chars // CHARS_PER_TOKEN


def collect_prompt(trace: Trace) -> Prompt:
    """Return the input that upstreams read: the request's body and the bodies of its strategy."""
    prompt = Prompt()
    for body in (trace.request.body, *(trace.further or ())):
        prompt.add_body(body)
    return prompt


def collect_thinking(trace: Trace) -> list[str]:
    """Return all thinking that was produced, shown to the caller or not."""
    return [
        *trace.reasoning,
        *(text for attempt in trace.attempts for text in attempt.unshown or ()),
    ]


async def count_body(body: dict[str, Any]) -> tokenizer.Count:
    """Count the tokens of a chat body in the same way as those of a request."""
    prompt = Prompt()
    prompt.add_body(body)
    if prompt.chars <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
        return tokenizer.Count(tokenizer.count_short(prompt.texts) + prompt.tokens)
    found = await tokenizer.in_thread(partial(tokenizer.count_all, prompt.texts))
    return tokenizer.Count(found.tokens + prompt.tokens, found.exact)
