"""Periodic tasks that belong to no app."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from providers.deletions import deletion_jobs
from proxysite.access import login_locks


@shared_task
def clear_sessions() -> None:
    """Delete expired admin sessions, and login records that no lock needs any more."""
    call_command("clearsessions")
    login_locks.delete_old_logins()


@shared_task
def carry_on_deletions() -> bool:
    """Go on with deletions, and return whether all rows are gone.

    The rest is a new task, so that other work of the worker gets its turn.
    """
    done = deletion_jobs.continue_all_deletions(settings.DELETION_RUN_SECONDS)
    if not done:
        deletion_jobs.send_deletion_task()
    return done
