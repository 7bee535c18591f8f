"""Periodic tasks that belong to no app."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from providers.deletions import deletion_jobs
from proxysite.access import login_locks


@shared_task
def clear_sessions() -> None:
    """Delete admin sessions that have expired, and logins that are of no use any more."""
    call_command("clearsessions")
    login_locks.forget_old()


@shared_task
def carry_on_deletions() -> bool:
    """Go on removing what was deleted; returns whether all is gone. The rest is a task of its own,
    so that other work of the worker gets its turn.
    """
    done = deletion_jobs.carry_on_all(settings.DELETION_RUN_SECONDS)
    if not done:
        deletion_jobs.order()
    return done
