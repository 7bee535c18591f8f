"""Periodic work on what callers asked."""

from celery import shared_task

from api.idempotency import claims


@shared_task
def delete_kept_answers() -> int:
    """Delete the answers of idempotent requests that have expired; returns how many."""
    return claims.delete_expired()
