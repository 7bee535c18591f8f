"""Note each export of secrets in the admin's log and in the log `audit`; no secrets."""

import logging

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType

from tokens.models import UpstreamToken
from tokens.querysets import TokenQuerySet

logger = logging.getLogger("audit")
MAX_NAME_CHARS = 200


def record_export(user_id: int | None, tokens: TokenQuerySet, form: str, choice: str) -> int:
    """Write who exports how many tokens, chosen how and in which form; return how many.

    A command has no user, so that it is only in the log `audit`.
    """
    count = tokens.count()
    logger.warning("tokens exported: %d as %s, of %s, by user %s", count, form, choice, user_id)
    if user_id is not None:
        LogEntry.objects.create(
            user_id=user_id,
            content_type=ContentType.objects.get_for_model(UpstreamToken),
            object_repr=f"{count} upstream tokens: {choice}"[:MAX_NAME_CHARS],
            action_flag=CHANGE,
            change_message=f"Exported with their secrets: {count} as {form}; {choice}.",
        )
    return count
