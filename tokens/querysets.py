"""Questions about tokens and one-statement changes of their state; each change is atomic, whoever else writes."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Case, Count, F, Q, QuerySet, Value, When
from django.utils import timezone

if TYPE_CHECKING:
    from tokens.models import UpstreamToken  # noqa: F401

REASON_LENGTH = 200


class TokenQuerySet(QuerySet["UpstreamToken"]):
    # --- questions ---------------------------------------------------------------------------------------------------
    def usable(self) -> "TokenQuerySet":
        """Tokens that answer now."""
        now = timezone.now()
        awake = Q(rests_until=None) | Q(rests_until__lte=now)
        return self.filter(awake, Q(expires_at=None) | Q(expires_at__gt=now), state__in=("active", "exhausted"))

    def counts(self) -> dict[str, int]:
        """{"total", "active", "inactive"}: active ones can be used now."""
        total = self.aggregate(total=Count("pk"))["total"]
        active = self.usable().count()
        return {"total": total, "active": active, "inactive": total - active}

    # --- changes -----------------------------------------------------------------------------------------------------
    def strike(self, limit: int, reason: str) -> int:
        """One more consecutive strike; the one that reaches `limit` disables. Returns the rows changed."""
        struck = F("strikes") + 1
        dead = When(strikes__gte=limit - 1, then=Value("disabled"))
        state = Case(dead, default=F("state"))
        return self.exclude(state="disabled").update(
            strikes=struck, state=state, reason=reason[:REASON_LENGTH], last_failure_at=timezone.now()
        )

    def rest(self, until: datetime, reason: str) -> int:
        """Not to be used before `until`; a longer rest already set stays."""
        sooner = Q(rests_until=None) | Q(rests_until__lt=until)
        return self.filter(sooner).update(
            rests_until=until, reason=reason[:REASON_LENGTH], last_failure_at=timezone.now()
        )

    def exhaust(self, until: datetime, reason: str) -> int:
        """Its quota is used up until `until`; then it is tried again by itself."""
        return self.exclude(state="disabled").update(
            state="exhausted", rests_until=until, reason=reason[:REASON_LENGTH], last_failure_at=timezone.now()
        )

    def absolve(self) -> int:
        """It answered well: no strikes, no quota trouble. Does not enable what is disabled or wake what has to rest."""
        spent = When(state="exhausted", then=Value(None))
        awake = self.exclude(state="disabled")
        return awake.update(strikes=0, state="active", rests_until=Case(spent, default=F("rests_until")), reason="")

    def reset(self) -> int:
        """As new: active, rested, no strikes."""
        return self.update(strikes=0, state="active", rests_until=None, reason="")

    def disable(self, reason: str) -> int:
        return self.update(state="disabled", reason=reason[:REASON_LENGTH])
