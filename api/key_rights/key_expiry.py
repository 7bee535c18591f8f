"""The latest time at which a key that a user issues may expire."""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone


def find_latest_expiry() -> datetime | None:
    """Return when a key that is issued now must expire at the latest; None: never."""
    days = settings.PORTAL_LONGEST_KEY_DAYS
    return timezone.now() + timedelta(days=days) if days else None
