"""Questions about tokens, and changes of their state in one statement each.

Each change is atomic, whoever else writes. `cause` is the id of the request that led to the change
(`req_…`); it is empty for people and for tasks.
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
AUTH = "auth"  # the reason begins with it when an upstream rejected the token
BY_AUTH = Q(
    state="disabled", reason__startswith=f"{AUTH}:"
)  # disabled by strikes or checks: a good check enables it
# disabled with any other reason: no check enables it
BY_PERSON = Q(state="disabled") & ~Q(reason__startswith=f"{AUTH}:") & ~Q(reason=UNREADABLE)
DELETED = "it is being deleted"  # the reason of a token whose deletion has begun
RENEWABLE = ~Q(sealed_refresh="") | Q(account__isnull=False)


class TokenQuerySet(LeaseQuerySet, QuerySet["UpstreamToken"]):
    # --- questions --------------------------------------------------------------------------------
    def usable(self) -> "TokenQuerySet":
        """Return the tokens that can answer now, including those that must be renewed first."""
        now = timezone.now()
        awake = Q(rests_until=None) | Q(rests_until__lte=now)
        return self.filter(
            awake, self.lasting(now) | RENEWABLE, state__in=("active", "exhausted", "failing")
        )

    def with_access(self) -> "TokenQuerySet":
        """Return the tokens that can be shown to an upstream as they are."""
        return self.filter(self.lasting(timezone.now())).exclude(sealed="")

    def renewable(self) -> "TokenQuerySet":
        """Return the tokens that can be renewed without a person.

        They have a refresh token or an account.
        """
        return self.filter(RENEWABLE)

    def watched(self) -> "TokenQuerySet":
        """Return all tokens but those that a person disabled, of providers asked with tokens.

        Providers that are disabled, set aside or in guest mode are left out.
        """
        asked = self.filter(provider__enabled=True).exclude(
            provider__in=Provider.objects.set_aside_ids()
        )
        return asked.exclude(BY_PERSON).exclude(provider__mode="guest")

    def unreadable(self) -> "TokenQuerySet":
        """Return the tokens disabled because their secrets could not be opened."""
        return self.filter(state="disabled", reason=UNREADABLE)

    @staticmethod
    def lasting(now: datetime) -> Q:
        return Q(expires_at=None) | Q(expires_at__gt=now)

    def counts(self) -> dict[str, int]:
        """Return {"total", "active", "inactive"}; active tokens can be used now."""
        total = self.aggregate(total=Count("pk"))["total"]
        active = self.usable().count()
        return {"total": total, "active": active, "inactive": total - active}

    # --- changes ----------------------------------------------------------------------------------
    def strike(self, limit: int, reason: str, cause: str = "") -> int:
        """Add one consecutive strike; the one that reaches `limit` disables the token.

        Returns the number of rows changed.
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
        """Give the tokens a cooldown until `until`.

        A longer one already set stays, and so does the reason of a token that is disabled.
        """
        sooner = Q(rests_until=None) | Q(rests_until__lt=until)
        return (
            self.filter(sooner)
            .exclude(state="disabled")
            .update(
                rests_until=until,
                reason=reason[:REASON_LENGTH],
                cause=cause,
                last_failure_at=timezone.now(),
            )
        )

    def exhaust(self, until: datetime, reason: str, cause: str = "") -> int:
        """Mark the quota of the tokens as used up until `until`; then they are tried again."""
        return self.exclude(state="disabled").update(
            state="exhausted",
            rests_until=until,
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def fail(self, until: datetime, reason: str, cause: str = "") -> int:
        """Mark tokens with which the provider fails while it answers with others, until `until`.

        Disabled and exhausted tokens, and those with a longer cooldown, stay as they are.
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
        """Clear strikes, quota trouble and the failing state of tokens that answered well.

        Does not enable disabled tokens, nor end a cooldown of an active one.
        """
        spent = When(state__in=("exhausted", "failing"), then=Value(None))
        awake = self.exclude(state="disabled")
        rests_until = Case(spent, default=F("rests_until"))
        return awake.update(
            strikes=0, state="active", rests_until=rests_until, reason="", cause=cause
        )

    def reset(self, cause: str = "") -> int:
        """Make the tokens active, without strikes or cooldown."""
        return self.update(strikes=0, state="active", rests_until=None, reason="", cause=cause)

    def disable(self, reason: str, cause: str = "") -> int:
        return self.update(state="disabled", reason=reason[:REASON_LENGTH], cause=cause)

    def mark_unreadable(self, cause: str = "") -> int:
        """Disable tokens whose secret cannot be opened, until it can. Return the rows changed.

        `tokens/secret_check.py` enables them again.
        """
        return self.exclude(state="disabled").update(
            state="disabled", reason=UNREADABLE, cause=cause
        )

    # --- leases -----------------------------------------------------------------------------------
    def claim(self, seconds: float, by: str) -> int:
        """Claim the tokens' single stream for the request `by`. Return the rows claimed.

        A stream that is in use is not claimed.
        """
        return self.claim_lease("busy_until", seconds, busy_with=by)

    def release(self, by: str) -> int:
        """Release the stream, if `by` still has it."""
        return self.filter(busy_with=by).release_lease("busy_until", busy_with="")
