"""Delete a user's own conversations and files: at once, or in the background when they are many.

Conversations expire first, so that nobody finds them any more from that moment on.
"""

import logging

from celery import current_app
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from conversations import retention
from conversations.models import Conversation, Item, StoredFile

logger = logging.getLogger("audit")
CONVERSATIONS_TASK = "conversations.tasks.delete_expired_of_user"
FILES_TASK = "conversations.tasks.sweep_files"
# of more than that a worker takes care
QUICK_ITEMS = 2_000
QUICK_FILES = 100


def delete_own_conversations(user: User, rows: "QuerySet[Conversation]") -> bool:
    """Delete these conversations of the user; return whether they are gone already.

    Many are left to the worker, or to the hourly deletion of expired conversations.
    """
    items = Item.objects.filter(conversation__in=rows)
    is_quick = items.order_by().values("pk")[: QUICK_ITEMS + 1].count() <= QUICK_ITEMS
    if is_quick:
        count = retention.delete_conversations(rows)
    else:
        count = rows.update(expires_at=Now())
        send_task(CONVERSATIONS_TASK, user.pk)
    logger.info("the user %d deleted %d conversations", user.pk, count)
    return is_quick


def send_task(name: str, *arguments: object) -> None:
    """Ask a worker to delete expired rows; without a broker the next periodic run does it."""
    try:
        current_app.send_task(name, args=arguments, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("deletions wait for the periodic run: %s", type(error).__name__)


def delete_own_files(user: User, rows: "QuerySet[StoredFile]") -> int:
    """Delete these files of the user with their bytes; return how many.

    Many expire at once, and the worker deletes them.
    """
    count = rows.count()
    if count <= QUICK_FILES:
        for file in rows.iterator():
            file.delete()
    else:
        rows.update(expires_at=Now())
        send_task(FILES_TASK)
    logger.info("the user %d deleted %d files", user.pk, count)
    return count
