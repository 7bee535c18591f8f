"""Count the tokens of each provider by state, in one query for all providers.

Every token is in exactly one of active, resting, exhausted, failing, disabled and expired, as its
badge in the admin says; inactive are all but the active ones. A token that is renewed before its
next use is counted by its state after that.
"""

from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from tokens.models import State, UpstreamToken
from tokens.querysets import IS_RENEWABLE, TokenQuerySet

TOKEN_STATES = ("active", "resting", "exhausted", "failing", "disabled", "expired")
# counts by "total", "active", "inactive" and the other words of TOKEN_STATES
StateCounts = dict[str, int]


def count_by_provider(tokens: QuerySet[UpstreamToken]) -> dict[int, StateCounts]:
    """Return the counts of `tokens` by provider id; providers without any are left out."""
    now = timezone.now()
    enabled = ~Q(state=State.DISABLED)
    valid = enabled & (TokenQuerySet.is_unexpired(now) | IS_RENEWABLE)
    counts = {
        "total": Count("pk"),
        "resting": Count("pk", filter=valid & Q(rests_until__gt=now, state=State.ACTIVE)),
        "exhausted": Count("pk", filter=valid & Q(rests_until__gt=now, state=State.EXHAUSTED)),
        "failing": Count("pk", filter=valid & Q(rests_until__gt=now, state=State.FAILING)),
        "disabled": Count("pk", filter=Q(state=State.DISABLED)),
        "expired": Count("pk", filter=enabled & Q(expires_at__lte=now) & ~IS_RENEWABLE),
    }
    counts_by_provider = {}
    rows: QuerySet[Any, Any] = tokens.order_by().values("provider_id").annotate(**counts)
    for row in rows:
        inactive = sum(row[state] for state in TOKEN_STATES[1:])
        active = row["total"] - inactive
        counts_by_provider[row["provider_id"]] = complete_counts(row, active)
    return counts_by_provider


def complete_counts(counts: StateCounts, active: int = 0) -> StateCounts:
    """Return the counts in the order in which they are shown; a missing one is zero."""
    total = counts.get("total", 0)
    inactive_counts = {state: counts.get(state, 0) for state in TOKEN_STATES[1:]}
    return {"total": total, "active": active, "inactive": total - active, **inactive_counts}


def find_next_position(tokens: QuerySet[UpstreamToken]) -> int:
    """Return the list position, from 0, of the token whose turn is next in round robin.

    It is the token after the last used one.
    """
    last_used = (
        tokens.exclude(last_used_at=None)
        .order_by("-last_used_at")
        .values_list("created_at", "pk")
        .first()
    )
    if last_used is None:
        return 0
    created_at, pk = last_used
    up_to_last_used = Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lte=pk)
    return tokens.filter(up_to_last_used).count() % tokens.count()
