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
UNREADABLE_REASON = "its secret cannot be opened with this gateway's FIELD_KEYS"
AUTH_REASON = "auth"  # the reason begins with it when an upstream rejected the token
# disabled by strikes or checks: a good check enables it
DISABLED_BY_AUTH = Q(state="disabled", reason__startswith=f"{AUTH_REASON}:")
# disabled with any other reason: no check enables it
DISABLED_BY_PERSON = (
    Q(state="disabled") & ~Q(reason__startswith=f"{AUTH_REASON}:") & ~Q(reason=UNREADABLE_REASON)
)
DELETED_REASON = "it is being deleted"  # the reason of a token whose deletion has begun
IS_RENEWABLE = ~Q(sealed_refresh="") | Q(account__isnull=False)


def ends_before(until: datetime) -> Q:
    """Return the condition that a token has no cooldown, or one that ends before `until`."""
    return Q(rests_until=None) | Q(rests_until__lt=until)


class TokenQuerySet(LeaseQuerySet, QuerySet["UpstreamToken"]):
    # --- questions --------------------------------------------------------------------------------
    def filter_usable(self) -> "TokenQuerySet":
        """Return the tokens that can answer now, including those that must be renewed first."""
        now = timezone.now()
        has_no_cooldown = Q(rests_until=None) | Q(rests_until__lte=now)
        return self.filter(
            has_no_cooldown,
            self.is_unexpired(now) | IS_RENEWABLE,
            state__in=("active", "exhausted", "failing"),
        )

    def filter_unusable(self) -> "TokenQuerySet":
        """Return the tokens that cannot answer now: all but those of `filter_usable`."""
        now = timezone.now()
        is_expired = Q(expires_at__lte=now) & ~IS_RENEWABLE
        return self.filter(Q(state="disabled") | Q(rests_until__gt=now) | is_expired)

    def filter_with_access(self) -> "TokenQuerySet":
        """Return the tokens that can be shown to an upstream as they are."""
        return self.filter(self.is_unexpired(timezone.now())).exclude(sealed="")

    def filter_renewable(self) -> "TokenQuerySet":
        """Return the tokens that can be renewed without a person.

        They have a refresh token or an account.
        """
        return self.filter(IS_RENEWABLE)

    def filter_maintained(self) -> "TokenQuerySet":
        """Return all tokens but those that a person disabled, of providers called with tokens.

        Providers that are disabled, set aside or in guest mode are left out.
        """
        of_called_providers = (
            self.filter(provider__enabled=True)
            .exclude(provider__in=Provider.objects.list_set_aside_ids())
            .exclude(provider__mode="guest")
        )
        return of_called_providers.exclude(DISABLED_BY_PERSON)

    def filter_unreadable(self) -> "TokenQuerySet":
        """Return the tokens disabled because their secrets could not be opened."""
        return self.filter(state="disabled", reason=UNREADABLE_REASON)

    @staticmethod
    def is_unexpired(now: datetime) -> Q:
        """Return the condition that a token has not expired at `now`."""
        return Q(expires_at=None) | Q(expires_at__gt=now)

    def count_by_activity(self) -> dict[str, int]:
        """Return {"total", "active", "inactive"}; active tokens can be used now."""
        total = self.aggregate(total=Count("pk"))["total"]
        active = self.filter_usable().count()
        return {"total": total, "active": active, "inactive": total - active}

    # --- changes ----------------------------------------------------------------------------------
    def add_strike(self, limit: int, reason: str, cause: str = "") -> int:
        """Add one consecutive strike; the one that reaches `limit` disables the token.

        Returns the number of rows changed.
        """
        reaches_limit = When(strikes__gte=limit - 1, then=Value("disabled"))
        return self.exclude(state="disabled").update(
            strikes=F("strikes") + 1,
            state=Case(reaches_limit, default=F("state")),
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def add_cooldown(self, until: datetime, reason: str, cause: str = "") -> int:
        """Give the tokens a cooldown until `until`.

        A longer one already set stays, and so does the reason of a token that is disabled.
        """
        return (
            self.filter(ends_before(until))
            .exclude(state="disabled")
            .update(
                rests_until=until,
                reason=reason[:REASON_LENGTH],
                cause=cause,
                last_failure_at=timezone.now(),
            )
        )

    def mark_exhausted(self, until: datetime, reason: str, cause: str = "") -> int:
        """Mark the quota of the tokens as used up until `until`; then they are tried again."""
        return self.exclude(state="disabled").update(
            state="exhausted",
            rests_until=until,
            reason=reason[:REASON_LENGTH],
            cause=cause,
            last_failure_at=timezone.now(),
        )

    def mark_as_failing(self, until: datetime, reason: str, cause: str = "") -> int:
        """Mark tokens with which the provider fails while it answers with others, until `until`.

        Disabled and exhausted tokens, and those with a longer cooldown, stay as they are.
        """
        return (
            self.filter(ends_before(until))
            .exclude(state__in=("disabled", "exhausted"))
            .update(
                state="failing",
                rests_until=until,
                reason=reason[:REASON_LENGTH],
                cause=cause,
                last_failure_at=timezone.now(),
            )
        )

    def mark_recovered(self, cause: str = "") -> int:
        """Clear strikes, quota trouble and the failing state of tokens that answered well.

        Does not enable disabled tokens, nor end a cooldown of an active one.
        """
        was_left_out = When(state__in=("exhausted", "failing"), then=Value(None))
        return self.exclude(state="disabled").update(
            strikes=0,
            state="active",
            rests_until=Case(was_left_out, default=F("rests_until")),
            reason="",
            cause=cause,
        )

    def clear_failing(self, cause: str = "") -> int:
        """End the failing state of tokens, because their provider was at fault. Strikes stay."""
        failing = self.filter(state="failing")
        return failing.update(state="active", rests_until=None, reason="", cause=cause)

    def reset_state(self, cause: str = "") -> int:
        """Make the tokens active, without strikes or cooldown."""
        return self.update(strikes=0, state="active", rests_until=None, reason="", cause=cause)

    def mark_disabled(self, reason: str, cause: str = "") -> int:
        """Disable the tokens for `reason`. Return the number of rows changed."""
        return self.update(state="disabled", reason=reason[:REASON_LENGTH], cause=cause)

    def mark_unreadable(self, cause: str = "") -> int:
        """Disable tokens whose secret cannot be opened, until it can. Return the rows changed.

        `tokens/secret_check.py` enables them again.
        """
        return self.exclude(state="disabled").update(
            state="disabled", reason=UNREADABLE_REASON, cause=cause
        )

    # --- leases -----------------------------------------------------------------------------------
    def claim_stream(self, seconds: float, request_id: str) -> int:
        """Claim the tokens' single stream for the request `request_id`. Return the rows claimed.

        A stream that is in use is not claimed.
        """
        return self.claim_lease("busy_until", seconds, busy_with=request_id)

    def release_stream(self, request_id: str) -> int:
        """Release the stream, if `request_id` still has it."""
        return self.filter(busy_with=request_id).release_lease("busy_until", busy_with="")
