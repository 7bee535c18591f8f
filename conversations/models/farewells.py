"""Farewell: a chat that an upstream keeps although no conversation stands in it any more; it is to
be deleted there.

Database triggers write the rows (`conversations/upstream_chats/chat_triggers.py`), so what is not
given has its default in the database.
"""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import Min
from django.db.models.functions import Now

PAUSE = timedelta(
    minutes=10
)  # after the first try; doubled after each, so that eight tries take a day
MOST_DOUBLINGS = 7  # then it is a day from try to try


class FarewellQuerySet(models.QuerySet["Farewell"]):
    def due(self) -> "FarewellQuerySet":
        return self.filter(due_at__lte=Now())

    def one_each(self, count: int, but: Collection[UUID] = ()) -> "FarewellQuerySet":
        """The first of each of some tokens, without those of `but`."""
        tokens = self.exclude(token_id__in=but).values("token_id")
        first = tokens.annotate(first=Min("pk")).order_by("first").values_list("first", flat=True)
        return self.filter(pk__in=list(first[:count]))


class Farewell(models.Model):
    """`token_id` may be that of a token which is gone: what it kept cannot be deleted then."""

    token_id = models.UUIDField(editable=False)
    chat_id = models.CharField(max_length=200, editable=False)
    tries = models.PositiveSmallIntegerField(db_default=0, editable=False)
    due_at = models.DateTimeField(db_default=Now(), db_index=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = FarewellQuerySet.as_manager()

    def __str__(self) -> str:
        return self.chat_id

    def claim_try(self) -> bool:
        """Begin a try; False when somebody else has begun it since this row was read.

        Writes the number of tries and when the next one is due. No lease
        (`providers/database/leases.py`): nobody renews or releases it. A try that fails and one
        whose process dies are the same; the next one is due after a pause that grows, unless the
        row is deleted.
        """
        same = Farewell.objects.filter(pk=self.pk, tries=self.tries)
        mine = (
            same.update(
                tries=self.tries + 1, due_at=Now() + PAUSE * 2 ** min(self.tries, MOST_DOUBLINGS)
            )
            == 1
        )
        self.tries += mine
        return mine
