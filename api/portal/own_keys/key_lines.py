"""A user's keys for the template: state, use, spend and limits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.translation import gettext as _

from api.limits.caller_limits import Rule, find_subject, make_rules
from api.models import ApiKey, LimitSet
from api.portal.own_usage.limits_left import LimitLine, look_up_limits
from api.usage.usage_parameters import ceil_to_hour, floor_to_hour
from api.usage.usage_query import UsageQuery, read_usage

SPEND_DAYS = 30
MOST_GROUPS = 10_000  # that are read


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key for the template; `sums` are those of the last SPEND_DAYS."""

    key: ApiKey
    colour: str
    state: str
    sums: dict[str, int]
    limits: list[LimitLine] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        return self.colour == "good"


def describe_keys(request: HttpRequest, user: User, keys: Sequence[ApiKey]) -> list[KeyLine]:
    """Return a line for each of the user's keys, in their order."""
    sums = read_key_sums(user)
    rules = load_key_rules(keys)
    flat_rules = [rule for key in keys for rule in rules.get(key.pk, ())]
    lines = iter(look_up_limits(request, flat_rules))
    described = []
    for key in keys:
        colour, state = describe_state(key)
        limits = [next(lines) for _rule in rules.get(key.pk, ())]
        described.append(KeyLine(key, colour, state, sums.get(key.pk, {}), limits))
    return described


def describe_state(key: ApiKey) -> tuple[str, str]:
    """Return the colour of the key's badge, and its text."""
    if key.revoked_at is not None:
        return "bad", _("revoked")
    if key.is_expired:
        return "off", _("expired")
    return "good", _("valid")


def load_key_rules(keys: Iterable[ApiKey]) -> dict[int, list[Rule]]:
    """Return the limits of these keys themselves, by key id; one query."""
    by_id = {key.pk: key for key in keys}
    rows = LimitSet.objects.filter(key__in=by_id, for_each_end_user=False)
    return {
        row.key_id or 0: list(
            make_rules(row, find_subject(row, by_id[row.key_id or 0].prefix, "", {}))
        )
        for row in rows
    }


def read_key_sums(user: User) -> dict[Any, dict[str, int]]:
    """Return the sums of each of the user's keys in the last SPEND_DAYS, by key id."""
    now = datetime.now(UTC)
    begin = floor_to_hour(now - timedelta(days=SPEND_DAYS))
    query = UsageQuery(("key",), begin, ceil_to_hour(now), MOST_GROUPS, user_id=user.pk)
    return {group.values[0]: group.sums for group in read_usage(query).groups}
