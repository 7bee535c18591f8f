"""Periodic work on tokens: sweeps over what the database says, so that a lost or doubled message does no harm."""

from celery import shared_task

from tokens import checkup
from tokens.models import State, UpstreamToken

CHECKED_AT_ONCE = 100  # of the disabled, drawn at random, so that all get their turn


@shared_task
def check_disabled() -> int:
    """Enable the tokens that auth failures disabled and that work again; returns how many."""
    disabled = UpstreamToken.objects.filter(state=State.DISABLED, reason__startswith=checkup.AUTH)
    drawn = disabled.filter(provider__enabled=True).order_by("?")[:CHECKED_AT_ONCE]
    return sum(finding.outcome == checkup.WORKS for finding in checkup.check(drawn))
