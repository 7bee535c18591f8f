"""Filter tokens by state, reason, age, last check, provider and kind, as a person asks.

The list in the admin, actions on all tokens that match, and commands use the same filters. A filter
is a pair of words, for example `is=disabled`; the names are those of the list's address.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from tokens.models import Kind, State
from tokens.querysets import (
    AUTH_REASON,
    DELETED_REASON,
    IS_RENEWABLE,
    UNREADABLE_REASON,
    TokenQuerySet,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
SPANS = {"hour": HOUR, "day": DAY, "week": WEEK}
OLDER = "older"
MASK_END_LENGTH = 4  # characters of a secret that its mask ends with
CHECK_WORKED = "works"
CHECK_PROVED_NOTHING = "unproven"

# the beginning of the reason of each group
PREFIX_BY_GROUP = {
    "auth": f"{AUTH_REASON}:",
    "rate-limit": "rate limit:",
    "quota": "quota:",
    "network": "failing:",
    "unreadable": UNREADABLE_REASON,
    "person": "by ",
}
OTHER_GROUP = "other"

TokenFilter = Callable[[TokenQuerySet, str], TokenQuerySet]


# --- state ----------------------------------------------------------------------------------------
def filter_expired(tokens: TokenQuerySet) -> TokenQuerySet:
    """Return the tokens whose badge says that they are expired."""
    expired = tokens.filter(expires_at__lte=timezone.now())
    return expired.exclude(IS_RENEWABLE).exclude(state=State.DISABLED)


def filter_resting(tokens: TokenQuerySet, state: State) -> TokenQuerySet:
    """Return the tokens in this state that have a cooldown now."""
    return tokens.filter(state=state, rests_until__gt=timezone.now())


FILTER_OF_STATE: dict[str, Callable[[TokenQuerySet], TokenQuerySet]] = {
    "usable": lambda tokens: tokens.filter_usable(),
    "resting": lambda tokens: filter_resting(tokens, State.ACTIVE),
    "exhausted": lambda tokens: filter_resting(tokens, State.EXHAUSTED),
    "failing": lambda tokens: filter_resting(tokens, State.FAILING),
    "disabled": lambda tokens: tokens.filter(state=State.DISABLED),
    "expired": filter_expired,
    "struck": lambda tokens: tokens.filter(strikes__gt=0).exclude(state=State.DISABLED),
}


def filter_state(tokens: TokenQuerySet, word: str) -> TokenQuerySet:
    return FILTER_OF_STATE[word](tokens)


# --- the other filters ----------------------------------------------------------------------------
def filter_reason(tokens: TokenQuerySet, group: str) -> TokenQuerySet:
    """Return the tokens whose reason belongs to a group of PREFIX_BY_GROUP, or to no group."""
    if group in PREFIX_BY_GROUP:
        return tokens.filter(reason__startswith=PREFIX_BY_GROUP[group])
    if group != OTHER_GROUP:
        raise KeyError(group)
    others = ~Q(reason="")
    for prefix in PREFIX_BY_GROUP.values():
        others &= ~Q(reason__startswith=prefix)
    return tokens.filter(others)


def find_reason_group(reason: str) -> str:
    """Return the group of a reason; empty when there is no reason."""
    if not reason:
        return ""
    for group, prefix in PREFIX_BY_GROUP.items():
        if reason.startswith(prefix):
            return group
    return OTHER_GROUP


def filter_age(tokens: TokenQuerySet, span: str) -> TokenQuerySet:
    """Return the tokens that were imported within the span; `older` is before all spans."""
    if span == OLDER:
        return tokens.filter(created_at__lt=timezone.now() - WEEK)
    return tokens.filter(created_at__gte=timezone.now() - SPANS[span])


def filter_check(tokens: TokenQuerySet, word: str) -> TokenQuerySet:
    """Return the tokens by the time or the result of their last check."""
    if word == "never":
        return tokens.filter(last_check__isnull=True)
    if word == CHECK_WORKED:
        return tokens.filter(last_check__outcome=CHECK_WORKED)
    if word == "failed":
        fine = (CHECK_WORKED, CHECK_PROVED_NOTHING)
        return tokens.filter(last_check__isnull=False).exclude(last_check__outcome__in=fine)
    if word == OLDER:
        return tokens.filter(last_check__at__lt=timezone.now() - DAY)
    return tokens.filter(last_check__at__gte=timezone.now() - SPANS[word])


def filter_kind(tokens: TokenQuerySet, kind: str) -> TokenQuerySet:
    return tokens.filter(kind=Kind(kind))


def filter_provider(tokens: TokenQuerySet, provider_id: str) -> TokenQuerySet:
    return tokens.filter(provider_id=int(provider_id))


def filter_term(tokens: TokenQuerySet, term: str) -> TokenQuerySet:
    """Return the tokens that a text finds: an id, or the openly shown parts of a token."""
    try:
        return tokens.filter(pk=UUID(term))
    except ValueError:
        pass
    matches = Q(masked__startswith=term) | Q(label__startswith=term)
    if len(term) == MASK_END_LENGTH:
        matches |= Q(masked__endswith=f"…{term}")
    return tokens.filter(matches)


def filter_batch(tokens: TokenQuerySet, batch_id: str) -> TokenQuerySet:
    """Return the tokens that one import brought."""
    return tokens.filter(import_batch_id=UUID(batch_id))


FILTERS: dict[str, TokenFilter] = {
    "is": filter_state,
    "reason": filter_reason,
    "age": filter_age,
    "check": filter_check,
    "kind": filter_kind,
    "provider__id__exact": filter_provider,
    "import_batch__exact": filter_batch,
    "import_batch__id__exact": filter_batch,
    "q": filter_term,
}


class UnknownFilter(ValueError):
    """A filter that there is not, or a word that it does not know."""


def apply_filters(tokens: TokenQuerySet, query: Mapping[str, str]) -> TokenQuerySet:
    """Return the tokens that all filters let through. Raises UnknownFilter.

    An unknown filter is an error and never left out: an action would reach too many tokens.
    """
    for name, word in query.items():
        try:
            tokens = FILTERS[name](tokens, word)
        except (KeyError, ValueError):
            raise UnknownFilter(f"{name}={word}") from None
    return tokens


def exclude_deleted(tokens: TokenQuerySet) -> TokenQuerySet:
    """Return the tokens without those being deleted, which may be very many."""
    return tokens.exclude(state=State.DISABLED, reason=DELETED_REASON)
