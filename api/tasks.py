"""The periodic tasks of this app."""

from celery import shared_task
from django.conf import settings

from api.alerts import delivery, event_records, price_alerts
from api.batches import batch_cleanup, worker_process
from api.idempotency import claims
from api.portal.signing_in import password_reset
from api.usage import reconciliation, record_expiry
from api.usage.spans import slot_expiry, stored_tops


@shared_task
def delete_kept_answers() -> int:
    """Delete the expired answers of idempotent requests; return how many."""
    return claims.delete_expired_answers()


@shared_task
def complete_rollups() -> bool:
    """Add the records from before the roll-ups to them, once; return whether it was done now."""
    return reconciliation.complete_rollups()


@shared_task
def expire_usage() -> int:
    """Delete usage records that are older than USAGE_DAYS, and old slots; return how many."""
    slot_expiry.delete_old_slots()
    if not settings.USAGE_DAYS:
        return 0
    return record_expiry.delete_old_records(settings.USAGE_DAYS)


@shared_task
def update_stored_tops() -> int:
    """Add up the busiest keys, users, models and providers; return how long it took, in ms."""
    return stored_tops.update_stored_tops()


@shared_task
def deliver_alerts() -> int:
    """Send the alerts that are due; return how many were taken."""
    return delivery.deliver_due_alerts()


@shared_task
def report_unknown_prices() -> int:
    """Report models that were used although their price is unknown; return how many are new."""
    return price_alerts.report_unknown_prices()


@shared_task
def delete_old_alerts() -> int:
    """Delete alerts older than ALERT_KEEP_DAYS; return how many."""
    return event_records.delete_old_alerts()


@shared_task
def run_batches() -> bool:
    """Start the process that runs batches, if some wait; return whether it was started."""
    return worker_process.start_batch_process()


@shared_task
def delete_old_batches() -> int:
    """Delete batches older than BATCH_DAYS, and what batches left on the disk; return how many."""
    return batch_cleanup.delete_old_batches()


@shared_task
def send_password_reset(email: str, host: str, is_secure: bool, language: str | None) -> bool:
    """Send the e-mail for a new password, if a user has this address."""
    return password_reset.send_password_reset(email, host, is_secure, language)
