"""The periodic tasks of this app."""

from celery import shared_task

from api.idempotency import claims


@shared_task
def delete_kept_answers() -> int:
    """Delete the expired answers of idempotent requests; return how many."""
    return claims.delete_expired_answers()
