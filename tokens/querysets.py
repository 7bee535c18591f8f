"""Questions about tokens and one-statement changes of their state; each change is atomic, whoever
else writes.

`cause` is the id of the request that led to the change (`req_…`); it is empty for people and for
tasks.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Case, Count, F, Q, QuerySet, Value, When
from django.utils import timezone

from providers.database.leases import LeaseQuerySet
from providers.models import Provider

if TYPE_CHECKING:
    from tokens.models import UpstreamToken  # noqa: F401

REASON_LENGTH = 200
UNREADABLE = "its secret cannot be opened with this gateway's FIELD_KEYS"
AUTH = "auth"  # how the reason begins when an upstream rejected the token
BY_AUTH = Q(
    state="disabled", reason__startswith=f"{AUTH}:"
)  # disabled by strikes or checks: a good check enables it
# whatever else it says: it stays off
BY_PERSON = Q(state="disabled") & ~Q(reason__startswith=f"{AUTH}:") & ~Q(reason=UNREADABLE)
DELETED = "it is being deleted"  # the reason of a token that is given up
RENEWABLE = ~Q(sealed_refresh="") | Q(account__isnull=False)


class TokenQuerySet(LeaseQuerySet, QuerySet["UpstreamToken"]):
    # --- questions --------------------------------------------------------------------------------
    def usable(self) -> "TokenQuerySet":
        """Tokens that answer now, those that are renewed first included."""
        now = timezone.now()
        awake = Q(rests_until=None) | Q(rests_until__lte=now)
        return self.filter(
            awake, self.lasting(now) | RENEWABLE, state__in=("active", "exhausted", "failing")
        )

    def with_access(self) -> "TokenQuerySet":
        """Those that can be shown to an upstream as they are."""
        return self.filter(self.lasting(timezone.now())).exclude(sealed="")

    def renewable(self) -> "TokenQuerySet":
        """Those that are replaced without a person: a refresh token or an account stands behind
        them.
        """
        return self.filter(RENEWABLE)

    def watched(self) -> "TokenQuerySet":
        """All but those that a person switched off, of providers that are asked with tokens."""
        asked = self.filter(provider__enabled=True).exclude(
            provider__in=Provider.objects.set_aside_ids()
        )
        return asked.exclude(BY_PERSON).exclude(provider__mode="guest")

    def unreadable(self) -> "TokenQuerySet":
        """Those that were disabled because their secrets could not be opened."""
        return self.filter(state="disabled", reason=UNREADABLE)

    @staticmethod
    def lasting(now: datetime) -> Q:
        return Q(expires_at=None) | Q(expires_at__gt=now)

    def counts(self) -> dict[str, int]:
        """{"total", "active", "inactive"}: active ones can be used now."""
        total = self.aggregate(total=Count("pk"))["total"]
        active = self.usable().count()
        return {"total": total, "active": active, "inactive": total - active}

    # --- changes ----------------------------------------------------------------------------------
    def strike(self, limit: int, reason: str, cause: str = "") -> int:
        """One more consecutive strike; the one that reaches `limit` disables. Returns the rows
        changed.
        """
        struck = F("strikes") + 1
        dead = When(strikes__gte=limit - 1, then=Value("disabled"))
        state = Case(dead, default=F("state"))
        return self.exclude(state="disabled").update(
            strikes=struck,
            state=state,
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def rest(self, until: datetime, reason: str, cause: str = "") -> int:
        """Not to be used before `until`; a longer rest already set stays."""
        sooner = Q(rests_until=None) | Q(rests_until__lt=until)
        return self.filter(sooner).update(
            rests_until=until,
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def exhaust(self, until: datetime, reason: str, cause: str = "") -> int:
        """Its quota is used up until `until`; then it is tried again by itself."""
        return self.exclude(state="disabled").update(
            state="exhausted",
            rests_until=until,
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def fail(self, until: datetime, reason: str, cause: str = "") -> int:
        """Mark tokens with which the provider fails while it answers with others, until then.

        Those that are disabled or have to wait for longer stay as they are.
        """
        sooner = Q(rests_until=None) | Q(rests_until__lt=until)
        return (
            self.filter(sooner)
            .exclude(state__in=("disabled", "exhausted"))
            .update(
                state="failing",
                rests_until=until,
                reason=reason[:REASON_LENGTH],
                cause=cause,
                last_failure_at=timezone.now(),
            )
        )

    def absolve(self, cause: str = "") -> int:
        """It answered well: no strikes, no quota trouble, not failing. Does not enable what is
        disabled or wake what has to rest.
        """
        spent = When(state__in=("exhausted", "failing"), then=Value(None))
        awake = self.exclude(state="disabled")
        rests_until = Case(spent, default=F("rests_until"))
        return awake.update(
            strikes=0, state="active", rests_until=rests_until, reason="", cause=cause
        )

    def reset(self, cause: str = "") -> int:
        """As new: active, rested, no strikes."""
        return self.update(strikes=0, state="active", rests_until=None, reason="", cause=cause)

    def disable(self, reason: str, cause: str = "") -> int:
        return self.update(state="disabled", reason=reason[:REASON_LENGTH], cause=cause)

    def mark_unreadable(self, cause: str = "") -> int:
        """Its secret does not open: it is not used until it does (tokens/secret_check.py). Returns
        the rows.
        """
        return self.exclude(state="disabled").update(
            state="disabled", reason=UNREADABLE, cause=cause
        )

    # --- leases -----------------------------------------------------------------------------------
    def claim(self, seconds: float, by: str) -> int:
        """Take the tokens' one stream for the request `by`, where nobody has it. Returns the rows
        taken.
        """
        return self.claim_lease("busy_until", seconds, busy_with=by)

    def release(self, by: str) -> int:
        """Give the stream back, if `by` still has it."""
        return self.filter(busy_with=by).release_lease("busy_until", busy_with="")
