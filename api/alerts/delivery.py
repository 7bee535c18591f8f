"""Deliver alerts: each delivery until it was taken once, or ALERT_TRIES attempts have failed.

A worker claims a delivery by a lease that lasts longer than any attempt, so that two workers never
send the same one at once, and one that was taken is never sent again. A worker that dies after the
receiver took an alert and before that is written leaves a delivery that is sent once more when the
lease has ended; it has the same `webhook-id` or `Message-ID`, so that a receiver can drop it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now

from api.alerts import alert_mail, webhook
from api.alerts.webhook import SendResult
from api.models import AlertChannel, AlertDelivery, DeliveryState
from providers.database.leases import is_free
from providers.network.clients import Clients

logger = logging.getLogger(__name__)

LEASE_SECONDS = 300.0  # longer than any attempt
RUN_SECONDS = 20.0  # no attempt of a run, by either channel, begins later
# deliveries that are claimed together: webhooks are called at the same time, e-mails one by one
DELIVERIES_AT_ONCE = {AlertChannel.WEBHOOK: 10, AlertChannel.EMAIL: 1}
JITTER_SHARE = 0.2  # of a pause, more or less
MOST_DOUBLINGS = 40


# --- a run of the worker --------------------------------------------------------------------------
def deliver_due_alerts() -> int:
    """Send the deliveries that are due; return how many were taken.

    Deliveries that fail are due again after a pause.
    """
    return sum(deliver_by_channel(channel) for channel in AlertChannel)


def deliver_by_channel(channel: AlertChannel) -> int:
    """Send the deliveries of one channel that are due; return how many were taken."""
    sent_count = 0
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline and (claimed := claim_due_deliveries(channel)):
        results = SENDERS[channel](claimed)
        for delivery, result in zip(claimed, results, strict=True):
            mark_delivery(delivery, result)
            sent_count += not result.problem
    return sent_count


def claim_due_deliveries(channel: AlertChannel) -> list[AlertDelivery]:
    """Claim the next due deliveries of a channel; writes lease and attempt of each.

    When other workers were quicker with all that were found, it looks again.
    """
    due = AlertDelivery.objects.filter_due().filter(is_free("claimed_until"), channel=channel)
    next_due = due.order_by("due_at").select_related("event", "user")
    while rows := list(next_due[: DELIVERIES_AT_ONCE[channel]]):
        if claimed := [delivery for delivery in rows if claim_delivery(delivery)]:
            return claimed
    return []


def claim_delivery(delivery: AlertDelivery) -> bool:
    """Claim the next attempt; return False when another worker has it.

    The number of the attempt is written with the lease, and says later who may mark the row.
    """
    row = AlertDelivery.objects.filter_due().filter(
        pk=delivery.pk, attempt_count=delivery.attempt_count
    )
    is_mine = row.claim_lease("claimed_until", LEASE_SECONDS, attempt_count=F("attempt_count") + 1)
    delivery.attempt_count += is_mine
    return bool(is_mine)


def mark_delivery(delivery: AlertDelivery, result: SendResult) -> None:
    """Write the end of an attempt and release the lease.

    A delivery that was taken is marked so whoever has the lease now. A failure is only written by
    the worker whose attempt is the last one.
    """
    row = AlertDelivery.objects.filter(pk=delivery.pk)
    if not result.problem:
        row.release_lease("claimed_until", state=DeliveryState.SENT, sent_at=Now(), problem="")
        return
    is_over = result.is_final or delivery.attempt_count >= settings.ALERT_TRIES
    pause = find_pause_seconds(delivery.attempt_count, result.pause_seconds)
    row.filter(~Q(state=DeliveryState.SENT), attempt_count=delivery.attempt_count).release_lease(
        "claimed_until",
        state=DeliveryState.FAILED if is_over else DeliveryState.WAITING,
        due_at=Now() + timedelta(seconds=pause),
        problem=result.problem[:200],
    )
    if is_over:
        logger.error(
            "alert delivery %s failed for good after %d attempts: %s",
            delivery.pk,
            delivery.attempt_count,
            result.problem,
        )


def find_pause_seconds(attempt_count: int, wanted_seconds: float = 0.0) -> float:
    """Return the pause after so many attempts: it doubles, up to ALERT_RETRY_MAX_SECONDS.

    A receiver may want a longer one, up to the same bound. The jitter keeps deliveries that failed
    together from coming back together.
    """
    doublings = min(max(attempt_count - 1, 0), MOST_DOUBLINGS)
    pause = settings.ALERT_RETRY_SECONDS * 2.0**doublings
    bounded = min(max(pause, wanted_seconds), settings.ALERT_RETRY_MAX_SECONDS)
    # no secret depends on it
    return bounded * random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)  # noqa: S311


# --- the attempts ---------------------------------------------------------------------------------
def send_to_webhook(deliveries: Sequence[AlertDelivery]) -> list[SendResult]:
    """Send deliveries to the webhook and return how each ended; no transaction is open."""
    return asyncio.run(
        call_webhook([(str(row.event), webhook.build_body(row.event)) for row in deliveries])
    )


async def call_webhook(messages: Sequence[tuple[str, bytes]]) -> list[SendResult]:
    """Send messages, each an id and a body, to the webhook at the same time."""
    timestamp = int(datetime.now(UTC).timestamp())
    async with Clients() as clients, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(webhook.send_message(clients, message_id, timestamp, body))
            for message_id, body in messages
        ]
    return [task.result() for task in tasks]


def send_by_mail(deliveries: Sequence[AlertDelivery]) -> list[SendResult]:
    """Send deliveries by e-mail and return how each ended; a user without an address gets none."""
    return [send_one_mail(delivery) for delivery in deliveries]


def send_one_mail(delivery: AlertDelivery) -> SendResult:
    address = delivery.user.email if delivery.user is not None else delivery.address
    if not address:
        return SendResult("The user has no e-mail address.", is_final=True)
    message_id = f"{delivery.event}.{delivery.pk}"
    return alert_mail.send_mail(delivery.event, message_id, address)


SENDERS: dict[AlertChannel, Callable[[Sequence[AlertDelivery]], list[SendResult]]] = {
    AlertChannel.WEBHOOK: send_to_webhook,
    AlertChannel.EMAIL: send_by_mail,
}
