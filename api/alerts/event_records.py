"""Write alerts, and with each the deliveries that it needs."""

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from api.alerts.alert_facts import AlertFacts
from api.models import (
    AlertChannel,
    AlertDelivery,
    AlertEvent,
    AlertSubject,
    LimitSet,
)

logger = logging.getLogger(__name__)

DELIVERY_TASK = "api.tasks.deliver_alerts"
MOST_OWNERS = 20  # members of a team who get an e-mail
LIFELONG_PERIOD = "total"


def record_alerts(batch: Sequence[AlertFacts]) -> list[AlertEvent]:
    """Write alerts that are not written yet, with their deliveries; return the new rows.

    Of an alert that several processes report at once, the database keeps one. Events and
    deliveries are written in one transaction. Then a worker is asked to deliver them.
    """
    candidates = [make_event(facts) for facts in batch]
    with transaction.atomic():
        AlertEvent.objects.bulk_create(candidates, ignore_conflicts=True)
        ids = [event.pk for event in candidates]
        events = list(AlertEvent.objects.filter(pk__in=ids))
        deliveries = [delivery for event in events for delivery in make_deliveries(event)]
        AlertDelivery.objects.bulk_create(deliveries)
    if deliveries:
        send_delivery_task()
    return events


def make_event(facts: AlertFacts) -> AlertEvent:
    """Return the row of an alert, not saved."""
    return AlertEvent(
        kind=facts.kind,
        subject_kind=facts.subject_kind,
        subject_id=facts.subject_id,
        limit_name=facts.limit_name,
        period=facts.period,
        facts=facts.as_json(),
        created_at=facts.reported_at,
    )


def make_deliveries(event: AlertEvent) -> Iterator[AlertDelivery]:
    """Yield the deliveries that an alert needs by the settings and its limits, not saved."""
    if settings.ALERT_WEBHOOK_URL:
        yield AlertDelivery(event=event, channel=AlertChannel.WEBHOOK)
    if not settings.EMAIL_URL:
        return
    for address in settings.ALERT_EMAILS:
        yield AlertDelivery(event=event, channel=AlertChannel.EMAIL, address=address)
    operators = {address.lower() for address in settings.ALERT_EMAILS}
    for user in find_owners(event):
        if user.email.lower() not in operators:
            yield AlertDelivery(event=event, channel=AlertChannel.EMAIL, user=user)


def find_owners(event: AlertEvent) -> Sequence[User]:
    """Return the users who are told about their limits, because the limits say so.

    These are the user of a key, the user, or of a team the members who are staff.
    """
    if event.subject_kind not in (AlertSubject.KEY, AlertSubject.USER, AlertSubject.TEAM):
        return []
    subject_id = int(event.subject_id)
    limits = LimitSet.objects.filter(**{f"{event.subject_kind}_id": subject_id})
    if not limits.filter(notifies_owner=True).exists():
        return []
    users: QuerySet[User] = get_user_model().objects.filter(is_active=True).exclude(email="")
    match event.subject_kind:
        case AlertSubject.KEY:
            users = users.filter(api_keys=subject_id)
        case AlertSubject.USER:
            users = users.filter(pk=subject_id)
        case _:
            users = users.filter(team_membership__team=subject_id, is_staff=True)
    return list(users.order_by("pk")[:MOST_OWNERS])


def send_delivery_task() -> None:
    """Ask a worker to deliver alerts; without a broker the next periodic run does."""
    try:
        current_app.send_task(DELIVERY_TASK, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("alerts wait for the next periodic run: %s", type(error).__name__)


def delete_old_alerts() -> int:
    """Delete alerts older than ALERT_KEEP_DAYS with their deliveries; return how many.

    Those about a budget that never begins anew stay, because they would be sent again.
    """
    old = AlertEvent.objects.filter(
        ~Q(period=LIFELONG_PERIOD), created_at__lt=Now() - timedelta(days=settings.ALERT_KEEP_DAYS)
    )
    _, counts = old.delete()
    return counts.get(AlertEvent._meta.label, 0)
