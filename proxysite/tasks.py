"""Periodic tasks that belong to no app."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from providers.deletions import deletion_jobs
from proxysite.access import login_locks, login_session
from proxysite.audit import audit_expiry


@shared_task
def clear_sessions() -> None:
    """Delete ended sessions, logins that no lock needs, and old entries of the audit log."""
    call_command("clearsessions")
    login_locks.delete_old_logins()
    login_session.delete_ended_sessions()
    audit_expiry.delete_old_entries()


@shared_task
def carry_on_deletions() -> bool:
    """Go on with deletions, and return whether all rows are gone.

    The rest is a new task, so that other work of the worker gets its turn.
    """
    done = deletion_jobs.continue_all_deletions(settings.DELETION_RUN_SECONDS)
    if not done:
        deletion_jobs.send_deletion_task()
    return done
