"""One turn for the template: how it went, its items, and the thinking of a strategy."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from conversations.admin.request_facts import RequestFacts, render_cost
from conversations.admin.thread.item_view import (
    SHOWN_CHARS,
    ItemView,
    render_json,
    render_unusual_status,
)
from conversations.models import Turn, TurnEndpoint
from providers.admin.page_times import render_time
from providers.integers import parse_integer
from providers.protocol.json_types import JsonObject

LARGEST_COUNT = 10**12  # of tokens


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The tokens of a turn as its upstream or this gateway counted them."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(slots=True)
class TurnView:
    """One turn as the template shows it; `gap` counts the items that the page leaves out."""

    turn: Turn
    status: SafeString | str
    seconds: float | None
    tokens: TokenCounts | None
    facts: RequestFacts | None
    rerun_address: str
    inputs: list[ItemView]
    outputs: list[ItemView]
    gap: int = 0

    @property
    def time(self) -> SafeString | str:
        return render_time(self.turn.created_at)

    @property
    def cost(self) -> str:
        """Return the cost of the request; it may be unknown."""
        micro_usd = self.facts.cost_micro_usd if self.facts is not None else None
        return _("cost unknown") if micro_usd is None else render_cost(micro_usd)

    @property
    def request_id(self) -> str:
        return f"req_{self.turn.pk.hex}"

    @property
    def error(self) -> JsonObject:
        return self.turn.error or {}

    @property
    def extras(self) -> JsonObject:
        return {**self.turn.extra_fields, **self.turn.thinking}

    @property
    def framework(self) -> object:
        return self.extras.get("framework")

    @property
    def steps(self) -> list[object]:
        """Return the steps as objects with title, content and seconds; others as they are."""
        return [
            step if isinstance(step, dict) else {"title": "", "content": step}
            for step in wrap_in_list(self.extras.get("steps"))
        ]

    @property
    def candidates(self) -> list[str]:
        return [str(draft)[:SHOWN_CHARS] for draft in wrap_in_list(self.extras.get("candidates"))]

    @property
    def other_extras(self) -> str:
        known = ("framework", "steps", "candidates")
        return render_json({name: self.extras[name] for name in self.extras if name not in known})

    @property
    def options(self) -> str:
        return render_json(self.turn.settings)


def describe_turn(
    turn: Turn, items: Sequence[ItemView], facts: RequestFacts | None, gap: int = 0
) -> TurnView:
    """Return a turn for the template, with those of its items that the page shows."""
    return TurnView(
        turn=turn,
        status=render_unusual_status(turn.status),
        seconds=measure_seconds(turn),
        tokens=read_token_counts(turn.usage),
        facts=facts,
        rerun_address=find_rerun_address(turn),
        inputs=[item for item in items if not item.is_output],
        outputs=[item for item in items if item.is_output],
        gap=gap,
    )


def find_rerun_address(turn: Turn) -> str:
    """Return the address that runs a turn on another model, empty where that is not possible."""
    if turn.endpoint == TurnEndpoint.ITEMS or not settings.PLAYGROUND:
        return ""
    return f"{reverse('playground:page')}?turn={turn.pk.hex}"


def measure_seconds(turn: Turn) -> float | None:
    """Return how long the answer of a model took, None when there is none."""
    if turn.finished_at is None or not turn.model:
        return None
    return (turn.finished_at - turn.created_at).total_seconds()


def read_token_counts(usage: object) -> TokenCounts | None:
    """Return the tokens of a stored usage, None when there is none; odd values count as 0."""
    if not isinstance(usage, dict) or not usage:
        return None
    details = usage.get("completion_tokens_details")
    prompt_details = usage.get("prompt_tokens_details")
    return TokenCounts(
        prompt=read_count(usage, "prompt_tokens"),
        completion=read_count(usage, "completion_tokens"),
        cached=read_count(prompt_details, "cached_tokens"),
        reasoning=read_count(details, "reasoning_tokens"),
    )


def read_count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return parse_integer(str(value), 0, LARGEST_COUNT) or 0


def wrap_in_list(value: object) -> list[object]:
    """Return the value as a list, whatever it is; an empty one as an empty list."""
    if isinstance(value, list):
        return value
    return [value] if value else []
