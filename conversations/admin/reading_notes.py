"""Notes of who of the staff has read a conversation of somebody else.

With AUDIT_READING each opening is noted in the conversation's history, by its id and never by its
content. Pages of the same conversation that follow soon count as one opening.
"""

from datetime import timedelta
from typing import cast

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from conversations.models import Conversation
from providers.admin.big_tables import record_in_history

READING_TEXT = "Read."
SAME_OPENING = timedelta(minutes=10)
LATEST_NOTES = 50  # of the user, among which an earlier note of the same opening is looked for


def record_reading(request: HttpRequest, conversations: QuerySet[Conversation]) -> None:
    """Write a note that the user reads these conversations, unless they are the user's own."""
    if not settings.AUDIT_READING:
        return
    user = cast(User, request.user)
    others = conversations.exclude(user=user).exclude(pk__in=list_noted_ids(user))
    record_in_history(request, others, READING_TEXT, get_name=lambda row: str(row.pk))


def list_noted_ids(user: User) -> list[str]:
    """Return the ids of the conversations whose reading by this user was noted just now."""
    notes = LogEntry.objects.filter(user=user).order_by("-pk")
    latest = notes.values_list("object_id", "change_message", "action_time")[:LATEST_NOTES]
    since = timezone.now() - SAME_OPENING
    return [
        str(object_id)
        for object_id, message, noted_at in latest
        if message == READING_TEXT and noted_at > since
    ]
