"""Meter the token usage of a request: one MeteredCall for each of its upstream calls.

Failover begins a call and records its chunks as they come. When the request has ended, the ledger
counts the tokens (`api/accounting/token_count.py`): of each call that was answered, the figures of
the upstream, or else the tokens of its body and of the texts that were recorded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from providers.fast_settings import settings
from providers.protocol.attempt import ANSWERING_OUTCOMES, Attempt
from providers.protocol.billed_units import NO_UNITS, BilledUnits
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject

HIGHEST_COUNT = 10**9  # a larger figure is no token count
REQUIRED_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
PIECE_BYTES = 64  # memory of a piece of text besides its characters
# names of prompt tokens read from a cache, and of those written to it: OpenAI's and OpenRouter's
# first, then DeepSeek's, Anthropic's (as gateways and DashScope pass them on) and LiteLLM's
CACHED_NAMES = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
CACHE_WRITE_NAMES = (
    "cache_write_tokens",
    "cache_creation_input_tokens",
    "cache_creation_tokens",
)


class TokenUsage(Struct, frozen=True):
    """Token counts; `estimated` when at least some were counted by the gateway."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    estimated: bool = False
    cache_write: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
            self.cached + other.cached,
            self.estimated or other.estimated,
            self.cache_write + other.cache_write,
        )

    def as_openai(self) -> JsonObject:
        """Return the counts in OpenAI's form; tokens written to a cache only if there are any."""
        prompt_details = {"cached_tokens": self.cached}
        if self.cache_write:
            prompt_details["cache_write_tokens"] = self.cache_write
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": prompt_details,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class RequestCost(Struct, frozen=True):
    """The cost of a request in millionths of a USD; None is unknown.

    `price_id` is the row of the price of its last upstream call, and `reported_micro_usd` the cost
    as the upstreams reported it.
    """

    micro_usd: int | None = None
    price_id: int | None = None
    reported_micro_usd: int | None = None


UNKNOWN_COST = RequestCost()


class TextMemory(Struct):
    """The memory that the kept texts of one request take, in bytes."""

    taken_bytes: int = 0

    def take_for_text(self, text: str) -> bool:
        """Take memory for one more piece of text; return whether it may be kept."""
        self.taken_bytes += len(text) + PIECE_BYTES
        limit: int = settings.COUNT_KEPT_BYTES
        return self.taken_bytes <= limit


class MeteredCall(Struct):
    """The usage of one upstream call, from the first attempt to its end.

    It does not know its meter: a cycle of references would wait for the garbage collector.
    """

    memory: TextMemory  # shared by all calls of the request
    body: Mapping[str, Any]  # of the request
    attempt: Attempt | None = None  # the latest one
    reported: JsonObject | None = None  # the usage as the upstream reported it
    counted: TokenUsage | None = None  # set by the ledger when the call was answered
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    # characters that were produced but not kept, to bound the memory of a request
    unkept_text: int = 0
    unkept_reasoning: int = 0

    @property
    def is_answered(self) -> bool:
        """Return whether an upstream answered, at least in part, or was awaited at the end."""
        return self.attempt is not None and self.attempt.outcome in ANSWERING_OUTCOMES

    @property
    def billed_units(self) -> BilledUnits:
        """Return the images, seconds, characters or searches that the call is billed by."""
        units = self.attempt.units if self.attempt is not None else None
        return units or NO_UNITS

    @property
    def thinking(self) -> list[str]:
        """Return all thinking that was produced, shown to the caller or not."""
        if self.attempt is None or self.attempt.hidden_thinking is None:
            return self.reasoning[:]
        return self.reasoning + self.attempt.hidden_thinking

    def record_chunks(self, batch: Sequence[Chunk]) -> None:
        """Record the reported usage and the texts of these chunks."""
        for chunk in batch:
            if chunk.get("usage"):
                self.reported = chunk["usage"]
            for choice in chunk.get("choices") or ():
                message = choice.get("delta") or choice.get("message") or choice
                if text := message.get("content") or message.get("text"):
                    self._record_text(str(text))
                if thought := message.get("reasoning_content") or message.get("reasoning"):
                    self._record_reasoning(str(thought))
                if calls := message.get("tool_calls") or message.get("function_call"):
                    self._record_calls(calls)

    def _record_calls(self, calls: object) -> None:
        """Record a list of tool calls, or one `function_call`."""
        if not isinstance(calls, list):
            calls = [calls]
        for call in calls:
            self._record_text(join_call_text(call))

    def _record_text(self, text: str) -> None:
        if self.memory.take_for_text(text):
            self.texts.append(text)
        else:
            self.unkept_text += len(text)

    def _record_reasoning(self, thought: str) -> None:
        if self.memory.take_for_text(thought):
            self.reasoning.append(thought)
        else:
            self.unkept_reasoning += len(thought)


class UsageMeter(Struct):
    """The usage of one request: its upstream calls, and in the end the sum of their tokens."""

    calls: list[MeteredCall] = field(default_factory=list)
    memory: TextMemory = field(default_factory=TextMemory)
    counted: TokenUsage | None = None  # the sum, set by the ledger
    cost: RequestCost = UNKNOWN_COST  # set by the ledger

    def begin_call(self, body: Mapping[str, Any]) -> MeteredCall:
        """Begin the next upstream call and return it."""
        call = MeteredCall(self.memory, body)
        self.calls.append(call)
        return call

    def as_openai(self) -> JsonObject | None:
        """Return the usage of the request in OpenAI's form, None before the ledger counted it.

        When all upstreams reported theirs, it is the sum of these objects with all their fields,
        and with the counts that OpenAI always has.
        """
        if self.counted is None:
            return None
        counts = self.counted.as_openai()
        reported = None if self.counted.estimated else self.sum_reported()
        if reported is None:
            return counts
        usage = drop_nulls(reported)
        for name in REQUIRED_COUNTS:
            if type(usage.get(name)) is not int:
                usage[name] = counts[name]
        return usage

    def sum_reported(self) -> JsonObject | None:
        """Return the sum of the usage objects that the upstreams reported, None without any."""
        total: object = None
        for call in self.calls:
            if call.is_answered:
                total = sum_usage(total, call.reported)
        return total if isinstance(total, dict) else None


def drop_nulls(usage: JsonObject) -> JsonObject:
    """Return a usage object, and the groups of details in it, without counts that are null."""
    return {
        name: drop_nulls(value) if isinstance(value, dict) else value
        for name, value in usage.items()
        if value is not None
    }


def join_call_text(call: object) -> str:
    """Join the texts that a model wrote for a tool call: its name and its arguments."""
    if not isinstance(call, dict):
        return ""
    function = call.get("function", call)
    if not isinstance(function, dict):
        return ""
    parts = (function.get("name"), function.get("arguments"))
    return " ".join(part for part in parts if isinstance(part, str) and part)


def sum_usage(first: Any, second: Any) -> Any:
    """Add up two usage objects of OpenAI's form, or two values of one, at any depth.

    Counts are added. A flag is set when it is set in one of them. Of anything else, for example a
    service tier, the second value is kept unless it is None.
    """
    if first is None:
        return second
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: sum_usage(first.get(name), value) for name, value in second.items()}
    if any(isinstance(value, bool) for value in (first, second)):
        return first or second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first + second
    if second is None:
        return first
    return second


def parse_count(value: object) -> int | None:
    """Return a plausible token count, or None.

    None stands for `true`, NaN, fractions of a token and numbers beyond HIGHEST_COUNT.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= HIGHEST_COUNT else None


def parse_usage(usage: object) -> TokenUsage | None:
    """Return the figures of a reported usage object, or None when they are not plausible."""
    if not isinstance(usage, dict):
        return None
    prompt = parse_count(usage.get("prompt_tokens"))
    completion = parse_count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    prompt_details = usage.get("prompt_tokens_details")
    completion_details = usage.get("completion_tokens_details")
    reasoning = find_count(completion_details, ("reasoning_tokens",))
    if reasoning and usage.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # xAI counts them beside completion tokens, and not among them
    return TokenUsage(
        prompt,
        completion,
        reasoning,
        find_count(prompt_details, CACHED_NAMES) or find_count(usage, CACHED_NAMES),
        cache_write=(
            find_count(prompt_details, CACHE_WRITE_NAMES) or find_count(usage, CACHE_WRITE_NAMES)
        ),
    )


def find_count(counts: object, names: Sequence[str]) -> int:
    """Return the first plausible count with one of these names; 0 when there is none."""
    if not isinstance(counts, dict):
        return 0
    for name in names:
        if counts.get(name):
            return parse_count(counts[name]) or 0
    return 0
