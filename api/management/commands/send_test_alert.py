"""`send_test_alert`: send a test by each channel of the settings, and say how it went."""

import asyncio
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from api.alerts import alert_mail, webhook
from api.alerts.alert_facts import AlertFacts
from api.alerts.event_records import make_event
from api.alerts.webhook import SendResult
from api.models import AlertEvent, AlertKind, AlertSubject
from providers.management.base import GatewayCommand
from providers.network.clients import Clients


class Command(GatewayCommand):
    help = "Send a test alert to the webhook and to each address in ALERT_EMAILS, once."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--email", default="", metavar="ADDRESS", help="send an e-mail to this address only"
        )

    def handle(self, *args: Any, email: str, **options: Any) -> None:
        event = make_test_event()
        results = list_email_results(event, [email]) if email else send_by_all_channels(event)
        if not results:
            raise CommandError("No channel is set: ALERT_WEBHOOK_URL, or ALERT_EMAILS.")
        for channel, result in results.items():
            self.stdout.write(f"{channel}: {result.problem or 'sent.'}")
        failed_count = sum(bool(result.problem) for result in results.values())
        if failed_count:
            raise CommandError(f"{failed_count} of {len(results)} channels failed.")


def make_test_event() -> AlertEvent:
    """Return an alert about nothing, not saved."""
    today = datetime.now(UTC).date().isoformat()
    return make_event(AlertFacts(AlertKind.TEST, AlertSubject.GATEWAY, "", today))


def send_by_all_channels(event: AlertEvent) -> dict[str, SendResult]:
    """Send to the webhook and to all operators; return how each ended, by the channel's name."""
    results: dict[str, SendResult] = {}
    if settings.ALERT_WEBHOOK_URL:
        problem = webhook.find_settings_problem()
        results["webhook"] = SendResult(problem) if problem else asyncio.run(call_webhook(event))
    return results | list_email_results(event, settings.ALERT_EMAILS)


async def call_webhook(event: AlertEvent) -> SendResult:
    async with Clients() as clients:
        body = webhook.build_body(event)
        return await webhook.send_message(clients, str(event), int(time.time()), body)


def list_email_results(event: AlertEvent, addresses: list[str]) -> dict[str, SendResult]:
    """Send an e-mail to each address; return how each ended."""
    if not settings.EMAIL_URL and addresses:
        return {
            address: SendResult("EMAIL_URL, the mail server, is not set.") for address in addresses
        }
    return {address: alert_mail.send_mail(event, f"{event}.test", address) for address in addresses}
