"""Token counts of a request: the upstream's figures, or else our own count.

Texts are counted exactly in one vocabulary (`tokenizer.py`). Those of other models differ from it
by some per cent, so our own counts are marked as estimated. A request that cannot wait for counting
is estimated by length and script (`conversations/text/token_estimate.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from django.conf import settings

from api.accounting import tokenizer
from conversations.text.token_estimate import CHARS_PER_TOKEN, MESSAGE_TOKENS, estimate_texts
from providers.protocol.message_text import list_prompt_texts
from providers.protocol.usage_meter import MeteredCall, TokenUsage, UsageMeter, parse_usage

Measure = Callable[[Sequence[str]], int]  # texts -> their tokens


@dataclass(slots=True)
class Prompt:
    """The input that upstreams read: texts, and `non_text_tokens` for everything else."""

    texts: list[str] = field(default_factory=list)
    non_text_tokens: int = 0

    @property
    def char_count(self) -> int:
        """Return the number of characters of the texts."""
        return sum(map(len, self.texts))

    def add_body(self, body: Mapping[str, Any]) -> None:
        """Add the input of a body: messages, tools, prompt, input, query and documents."""
        self.non_text_tokens += MESSAGE_TOKENS * len(body.get("messages") or ())
        self.texts += list_prompt_texts(body)
        self._add_input(body.get("prompt"))
        self._add_input(body.get("input"))
        self._add_input(body.get("query"))
        self._add_input(body.get("documents"))

    def _add_input(self, value: object) -> None:
        """Add a text, a list of texts, or lists of token numbers."""
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                self.texts.append(item)
            elif isinstance(item, list):
                self.non_text_tokens += len(item)
            elif item:
                self.non_text_tokens += 1


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An answered call without plausible figures of its upstream: its texts must be counted."""

    call: MeteredCall
    prompt: Prompt

    @property
    def chars(self) -> int:
        """Return the number of characters that are to be counted."""
        return self.prompt.char_count + sum(map(len, (*self.call.texts, *self.call.thinking)))


def record_reported_counts(meter: UsageMeter) -> list[Uncounted]:
    """Write the reported figures of each answered call to it, and return the calls without any.

    Calls that no upstream answered took no tokens.
    """
    uncounted = []
    for call in meter.calls:
        if not call.is_answered:
            continue
        call.counted = parse_usage(call.reported)
        if call.counted is None:
            prompt = Prompt()
            prompt.add_body(call.body)
            uncounted.append(Uncounted(call, prompt))
    return uncounted


def record_measured_counts(uncounted: Sequence[Uncounted], counts: Sequence[TokenUsage]) -> None:
    """Write the tokens that were measured to their calls."""
    for call, count in zip(uncounted, counts, strict=True):
        call.call.counted = count


def sum_counts(meter: UsageMeter) -> TokenUsage:
    """Return the tokens of a request: the sum of its answered calls."""
    counts = [call.counted for call in meter.calls if call.counted is not None]
    return counts[0] if len(counts) == 1 else sum(counts, TokenUsage())


async def count_request(meter: UsageMeter) -> TokenUsage:
    """Count the tokens of each answered call, write them to it, and return their sum.

    Texts are counted only where the upstream gave no figures.
    """
    uncounted = record_reported_counts(meter)
    if uncounted:
        size = sum(call.chars for call in uncounted)
        if size <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
            counts = measure_calls(uncounted, tokenizer.count_short_texts)
        else:
            counts = await tokenizer.run_in_counting_thread(partial(count_in_thread, uncounted))
        record_measured_counts(uncounted, counts)
    return sum_counts(meter)


def count_in_thread(uncounted: Sequence[Uncounted], most_chars: int) -> list[TokenUsage]:
    """Count texts of any size in the counting thread; `most_chars` is for `tokenizer.count_all`."""

    def measure_texts(texts: Sequence[str]) -> int:
        return tokenizer.count_texts(texts, most_chars).tokens

    return measure_calls(uncounted, measure_texts)


def estimate_request(meter: UsageMeter) -> TokenUsage:
    """Estimate the tokens of a request that cannot wait for counting, like `count_request`.

    The upstreams' figures are used where they gave any.
    """
    uncounted = record_reported_counts(meter)
    measure = partial(estimate_texts, most_chars=settings.COUNT_INLINE_BYTES)
    record_measured_counts(uncounted, measure_calls(uncounted, measure))
    return sum_counts(meter)


def record_counts_of_attempts(meter: UsageMeter) -> None:
    """Write the tokens of each call to its attempt, where a request made several calls.

    So its usage record has what each of them cost (`api/pricing/recorded_calls.py`).
    """
    if len(meter.calls) > 1:
        for call in meter.calls:
            if call.attempt is not None and call.counted is not None:
                call.attempt.tokens = msgspec.structs.asdict(call.counted)


def measure_calls(uncounted: Sequence[Uncounted], measure: Measure) -> list[TokenUsage]:
    """Return the tokens of each call, whose texts are counted by `measure`."""
    return [measure_call(call, measure) for call in uncounted]


def measure_call(uncounted: Uncounted, measure: Measure) -> TokenUsage:
    """Return the tokens of one call whose texts are counted by `measure`."""
    call = uncounted.call
    prompt = measure(uncounted.prompt.texts) + uncounted.prompt.non_text_tokens
    text = measure(["".join(call.texts)])
    text += extrapolate_tokens(text, call.texts, call.unkept_text)
    thinking = call.thinking
    reasoning = measure(["".join(thinking)])
    reasoning += extrapolate_tokens(reasoning, thinking, call.unkept_reasoning)
    return TokenUsage(prompt, text + reasoning, reasoning, estimated=True)


def extrapolate_tokens(tokens: int, counted_texts: list[str], uncounted_chars: int) -> int:
    """Estimate the tokens of `uncounted_chars` characters from the texts that were counted."""
    if not uncounted_chars:
        return 0
    kept_chars = sum(map(len, counted_texts))
    if not kept_chars:
        return uncounted_chars // CHARS_PER_TOKEN
    return round(tokens * uncounted_chars / kept_chars)


async def count_body(body: Mapping[str, Any]) -> tokenizer.TokenCount:
    """Count the tokens of a chat body in the same way as those of a request."""
    prompt = Prompt()
    prompt.add_body(body)
    if prompt.char_count <= settings.COUNT_INLINE_BYTES and tokenizer.is_ready():
        return tokenizer.TokenCount(
            tokenizer.count_short_texts(prompt.texts) + prompt.non_text_tokens
        )
    count = await tokenizer.run_in_counting_thread(partial(tokenizer.count_texts, prompt.texts))
    return tokenizer.TokenCount(count.tokens + prompt.non_text_tokens, count.is_exact)
