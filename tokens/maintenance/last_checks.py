"""Write the time and the result of the last check of each token."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from tokens.maintenance.check_result import CheckResult, explain_outcome
from tokens.models import TokenCheck, UpstreamToken
from tokens.querysets import REASON_LENGTH

WRITTEN_FIELDS = ("at", "outcome", "reason", "milliseconds")


def record_checks(tokens: Iterable[UpstreamToken], results: Mapping[UUID, CheckResult]) -> None:
    """Write the result of each token that was checked; those that are gone are left out."""
    now = timezone.now()
    checks = [
        TokenCheck(
            token=token,
            at=now,
            outcome=result.outcome,
            reason=explain_outcome(token, result)[:REASON_LENGTH],
            milliseconds=result.milliseconds,
        )
        for token in tokens
        if (result := results.get(token.pk)) is not None
    ]
    try:
        write_checks(checks)
    except IntegrityError:  # a token was deleted meanwhile
        for check in checks:
            with suppress(IntegrityError):
                write_checks([check])


@transaction.atomic
def write_checks(checks: list[TokenCheck]) -> None:
    """Write these checks in place of earlier ones. Raises IntegrityError when a token is gone."""
    TokenCheck.objects.bulk_create(
        checks, update_conflicts=True, unique_fields=["token"], update_fields=WRITTEN_FIELDS
    )
