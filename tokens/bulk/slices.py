"""Carry out an order on one slice of its tokens."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from django.utils.translation import gettext as _

from providers.protocol.json_types import JsonObject
from tokens import moving
from tokens.bulk.order import CHECK, DISABLE, ENABLE, MOVE, RESET, Order
from tokens.maintenance import token_check
from tokens.maintenance.check_result import WORKS
from tokens.models import State, UpstreamToken

DONE = "done"
UNCHANGED = "unchanged"


@dataclass
class SliceResult:
    """How many tokens had which outcome, and one entry for each that a person should look at."""

    outcomes: Counter[str] = field(default_factory=Counter)
    remarks: list[JsonObject] = field(default_factory=list)
    milliseconds: int = 0  # of all checks that asked the upstream
    asked: int = 0  # number of these checks
    slowest_milliseconds: int = 0


def apply_order(order: Order, token_ids: list[UUID]) -> SliceResult:
    """Carry the order out on the tokens with these ids. Raises TargetRefused."""
    if order.action == CHECK:
        return check_slice(token_ids)
    if order.action == MOVE:
        target = order.find_target()
        if target is None:
            raise moving.TargetRefused(_("The provider was deleted."))
        return SliceResult(moving.move_tokens(token_ids, target))
    tokens = UpstreamToken.objects.filter(pk__in=token_ids)
    changed = 0
    if order.action == RESET:
        changed = tokens.reset_state()
    elif order.action == ENABLE:
        changed = tokens.filter(state=State.DISABLED).reset_state()
    elif order.action == DISABLE:
        changed = tokens.mark_disabled(f"by {order.username}")
    outcomes = Counter({DONE: changed, UNCHANGED: len(token_ids) - changed})
    return SliceResult(+outcomes)


def check_slice(token_ids: list[UUID]) -> SliceResult:
    """Check the tokens at their upstreams; a remark for each that does not work or was changed."""
    result = SliceResult()
    tokens = UpstreamToken.objects.filter(pk__in=token_ids)
    for finding in token_check.check_upstream_tokens(tokens):
        result.outcomes[finding.outcome] += 1
        if finding.milliseconds is not None:
            result.asked += 1
            result.milliseconds += finding.milliseconds
            result.slowest_milliseconds = max(result.slowest_milliseconds, finding.milliseconds)
        if finding.outcome != WORKS or finding.change:
            result.remarks.append(describe_finding(finding))
    left_out = len(token_ids) - result.outcomes.total()
    if left_out > 0:
        result.outcomes["not checked"] += left_out
    return result


def describe_finding(finding: token_check.Finding) -> JsonObject:
    """Return a finding for the page of the result."""
    return {
        "id": str(finding.token.pk),
        "token": finding.token.masked,
        "provider": finding.token.provider.name,
        "outcome": finding.outcome,
        "reason": finding.reason[:200],
        "change": finding.change,
        "ms": finding.milliseconds,
    }
