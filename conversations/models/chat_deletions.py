"""UpstreamChatDeletion: a chat at an upstream that no conversation needs, to be deleted there.

Database triggers write the rows (`conversations/upstream_chats/chat_triggers.py`), so the other
columns have their defaults in the database.
"""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import Min
from django.db.models.functions import Now

# pause after the first try; doubled after each, so that eight tries take about a day
FIRST_PAUSE = timedelta(minutes=10)
MOST_DOUBLINGS = 7  # then the pause is about a day


class UpstreamChatDeletionQuerySet(models.QuerySet["UpstreamChatDeletion"]):
    def filter_due(self) -> "UpstreamChatDeletionQuerySet":
        """Return the chats whose next try may begin now."""
        return self.filter(due_at__lte=Now())

    def filter_first_of_each_token(
        self, count: int, excluded_token_ids: Collection[UUID] = ()
    ) -> "UpstreamChatDeletionQuerySet":
        """Return the first chat of each of `count` tokens, except `excluded_token_ids`."""
        tokens = self.exclude(token_id__in=excluded_token_ids).values("token_id")
        first = tokens.annotate(first=Min("pk")).order_by("first").values_list("first", flat=True)
        return self.filter(pk__in=list(first[:count]))


class UpstreamChatDeletion(models.Model):
    """A chat to be deleted.

    The token of `token_id` may be deleted already; then the chat cannot be deleted.
    """

    token_id = models.UUIDField(editable=False)
    chat_id = models.CharField(max_length=200, editable=False)
    tries = models.PositiveSmallIntegerField(db_default=0, editable=False)
    due_at = models.DateTimeField(db_default=Now(), db_index=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = UpstreamChatDeletionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.chat_id

    def claim_try(self) -> bool:
        """Claim the next try; return False when another process has claimed it meanwhile.

        Writes the number of tries and when the next one is due. There is no lease
        (`providers/database/leases.py`), because nothing would renew or release it: after a failed
        try or the death of its process, the next one is due after a growing pause, unless the row
        is deleted.
        """
        pause = FIRST_PAUSE * 2 ** min(self.tries, MOST_DOUBLINGS)
        unclaimed = UpstreamChatDeletion.objects.filter(pk=self.pk, tries=self.tries)
        is_mine = unclaimed.update(tries=self.tries + 1, due_at=Now() + pause) == 1
        if is_mine:
            self.tries += 1
        return is_mine
