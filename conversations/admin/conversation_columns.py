"""Sums over the turns of the conversations of one page of the list: models, tokens and cost.

Of a conversation with more than SUMMED_TURNS turns only the last ones are summed; the sums then
say “at least”.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q

from conversations.admin.request_facts import RequestFacts, read_request_facts, render_cost
from conversations.admin.thread.turn_view import read_token_counts
from conversations.models import Conversation, Turn
from providers.admin.big_tables import NO_VALUE

SUMMED_TURNS = 100
SHOWN_MODELS = 2  # that the list names; the others are counted


@dataclass(slots=True)
class TurnSums:
    """Sums over the last turns of one conversation; `is_part` when there are older ones."""

    is_part: bool = False
    models: dict[str, None] = field(default_factory=dict)  # the latest first
    tokens: int = 0
    cost_micro_usd: int = 0
    has_cost: bool = False
    has_unknown_cost: bool = False

    def add_turn(self, model: str, usage: object, facts: RequestFacts | None) -> None:
        """Add one turn, the newest first."""
        if model:
            self.models.setdefault(model)
        counts = read_token_counts(usage)
        if counts is not None:
            self.tokens += counts.total
        if facts is not None:
            self.has_cost = True
            self.has_unknown_cost |= facts.cost_micro_usd is None
            self.cost_micro_usd += facts.cost_micro_usd or 0

    @property
    def model_names(self) -> str:
        names = list(self.models)
        text = ", ".join(names[:SHOWN_MODELS]) or NO_VALUE
        return f"{text} +{len(names) - SHOWN_MODELS}" if len(names) > SHOWN_MODELS else text

    @property
    def token_text(self) -> str:
        return f"≥ {self.tokens:,}" if self.is_part else f"{self.tokens:,}"

    @property
    def cost_text(self) -> str:
        """Return the cost; an asterisk says that the cost of some request is unknown."""
        if not self.has_cost:
            return NO_VALUE
        mark = "*" if self.has_unknown_cost else ""
        return f"{'≥ ' if self.is_part else ''}{render_cost(self.cost_micro_usd)}{mark}"


def sum_turns(conversations: Sequence[Conversation], user: User) -> dict[str, TurnSums]:
    """Return the sums of each of the conversations, read with two queries."""
    sums: defaultdict[str, TurnSums] = defaultdict(TurnSums)
    condition = Q()
    for row in conversations:
        first_number = row.last_number - SUMMED_TURNS
        sums[row.pk].is_part = first_number > 0
        condition |= Q(conversation=row.pk, number__gt=max(0, first_number))
    if not condition:
        return sums
    turns = list(
        Turn.objects.filter(condition)
        .order_by("-number")
        .values_list("conversation_id", "pk", "model", "usage")
    )
    request_ids: list[UUID] = [pk for _, pk, _, _ in turns]
    facts = read_request_facts(request_ids, user)
    for conversation_id, pk, model, usage in turns:
        sums[conversation_id].add_turn(model, usage, facts.get(pk))
    return sums
