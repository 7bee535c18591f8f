"""The locks of logins that are in force now, and how to lift one."""

from dataclasses import dataclass
from datetime import timedelta

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max, Sum
from django.utils import timezone

from proxysite.access.login_locks import FailureCount

MOST_LOCKS = 200  # of each kind that the page shows
KINDS = ("both", "address", "name")


@dataclass(frozen=True, slots=True)
class Lock:
    """A name, an address, or both, whose logins are refused or slowed down for a while."""

    kind: str  # of KINDS
    name: str
    address: str
    failures: int
    seconds: int  # that it still lasts


def list_locks() -> list[Lock]:
    """Return the locks in force, at most MOST_LOCKS of each kind."""
    now = timezone.now()
    length = get_cool_off() or timedelta()
    pause = timedelta(seconds=settings.LOGIN_NAME_PAUSE_SECONDS)
    kinds = (
        ("both", ("username", "ip_address"), settings.AXES_FAILURE_LIMIT, length),
        ("address", ("ip_address",), settings.LOGIN_ADDRESS_LIMIT, length),
        ("name", ("username",), settings.LOGIN_NAME_LIMIT, pause),
    )
    locks = []
    for kind, columns, limit, lock_length in kinds:
        groups = (
            AccessAttempt.objects.filter(attempt_time__gt=now - length)
            .order_by()
            .values(*columns)
            .annotate(failures=Sum("failures_since_start"), last_at=Max("attempt_time"))
            .filter(failures__gte=limit)
        )
        for group in groups.order_by("-last_at")[:MOST_LOCKS]:
            count = FailureCount(group["failures"], group["last_at"])
            # a name that is slowed down stays so while its failures count
            seconds = int(count.find_remaining_seconds(limit, lock_length, now))
            if seconds > 0 or kind == "name":
                name = group.get("username") or ""
                address = str(group.get("ip_address") or "")
                locks.append(Lock(kind, name, address, group["failures"], max(0, seconds)))
    return locks


def lift_lock(kind: str, name: str, address: str) -> int:
    """Delete the failures that a lock counts, and return how many rows they were."""
    columns = {
        "both": {"username": name, "ip_address": address},
        "address": {"ip_address": address},
        "name": {"username": name},
    }
    return int(AccessAttempt.objects.filter(**columns[kind]).delete()[0])
