"""The reservation of one request: what it holds of each limit until its record is written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from api.limits.allowance import Allowance
from api.limits.caller_limits import Resource, Rule
from api.limits.request_demands import AnswerLengths
from api.limits.stores.limit_store import LimitStore

if TYPE_CHECKING:
    from providers.protocol.usage_meter import UsageMeter


class Part(Struct):
    """The amount that a request takes of one allowance."""

    rule: Rule
    allowance: Allowance
    amount: int
    slot: int = 0  # of a windowed counter, when it was taken
    is_overdraft: bool = False


class Reservation(Struct):
    """All parts of one request. It ends once: settled with what was used, or released unused."""

    store: LimitStore
    parts: Sequence[Part]
    lengths: AnswerLengths | None = None  # of the model's prompts and answers
    prompt_estimate: int = 0  # tokens
    end_user_id: int | None = None  # where the key has limits for each end user
    has_ended: bool = False
    micro_usd: int = 0  # spent, and not committed yet

    def release(self) -> None:
        """Give everything back: the request was not begun."""
        if self.has_ended:
            return
        self.has_ended = True
        for part in self.parts:
            if part.is_overdraft:
                part.allowance.has_overdraft = False
            part.allowance.running_count -= 1
            part.allowance.give_back(part.amount, part.slot)

    def settle(self, meter: "UsageMeter") -> None:
        """Replace what was reserved by what was used.

        Money counts as held until `record_commit` says that the usage record is in the database,
        from whose sums the store reads it.
        """
        if self.has_ended:
            return
        self.has_ended = True
        usage = meter.counted
        tokens = usage.prompt + usage.completion if usage is not None else 0
        if usage is not None and usage.completion and self.lengths is not None:
            self.lengths.add_answer(usage.completion)
            self.lengths.add_prompt(usage.prompt, self.prompt_estimate)
        for part in self.parts:
            allowance = part.allowance
            allowance.running_count -= 1
            if allowance.is_budget:
                self.micro_usd = meter.cost.micro_usd or 0
                if part.is_overdraft:
                    allowance.has_overdraft = False
                allowance.settle_money(part.amount, self.micro_usd)
            elif part.rule.resource is Resource.TOKENS:
                allowance.settle_tokens(part.amount, tokens, part.slot)
            elif part.rule.resource is Resource.CONCURRENCY or not was_sent(meter):
                allowance.give_back(part.amount, part.slot)

    def record_commit(self) -> None:
        """Note that the usage record of a request that was settled is committed."""
        if not self.micro_usd:
            return
        for part in self.parts:
            allowance = part.allowance
            if allowance.is_budget:
                self.store.record_spent(allowance.counter, self.micro_usd)
                allowance.uncommitted -= self.micro_usd
                if allowance.waiters:
                    allowance.wake_next_waiter()
        self.micro_usd = 0

    def end_plain_request(self) -> None:
        """End a request that used no tokens and no money: it runs no more."""
        self.has_ended = True
        for part in self.parts:
            part.allowance.running_count -= 1
            if part.rule.resource is Resource.CONCURRENCY:
                part.allowance.give_back(part.amount)


def was_sent(meter: "UsageMeter") -> bool:
    """Return whether an upstream was asked."""
    for call in meter.calls:  # a loop, because it runs for every request  # noqa: SIM110
        if call.attempt is not None:
            return True
    return False
