"""The contents of a turn: its ordered Items, and the events of a background response.

Items have the form of OpenAI's Responses API, whatever endpoint they came by; chat messages are
made of them (`conversations/messages/items_to_chat.py`).
"""

from django.db import models
from django.db.models import Q

from conversations.models.log import Conversation, Turn, TurnStatus

# a copy of `conversations.messages.items.PRIVATE_FIELD`, which rows may not import
PRIVATE_FIELD = "gateway"


class Item(models.Model):
    """One item of a turn, in the form of a Responses item.

    `data` is that object without `id` and `status`; `text` is its text for people. Ids are in the
    order of the conversation.
    """

    # begins with msg_, rs_, fc_ or fco_
    public_id = models.CharField(max_length=64, unique=True, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="items", db_index=False
    )
    turn = models.ForeignKey(Turn, models.CASCADE, related_name="items", db_index=False)
    output = models.BooleanField(default=False)  # the model made it
    type = models.CharField(max_length=32)
    role = models.CharField(max_length=16, blank=True)
    status = models.CharField(max_length=12, choices=TurnStatus, default=TurnStatus.COMPLETED)
    text = models.TextField(blank=True)
    # SHA-256 of the text as the caller received it; set when thinking preceded it
    received_digest = models.CharField(max_length=64, blank=True)
    data = models.JSONField()
    # thinking before this output that the caller does not get: it goes back to upstreams that want
    # it, and nowhere else; null where there is none, so that adding the column rewrote no row
    hidden_thinking = models.TextField(null=True, editable=False)  # noqa: DJ001
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=TurnStatus.values), name="item_status_known"
            )
        ]
        indexes = [
            models.Index(fields=["conversation", "id"], name="item_conversation"),
            models.Index(fields=["turn", "id"], name="item_turn"),
        ]

    def __str__(self) -> str:
        return self.public_id

    def as_openai(self) -> dict[str, object]:
        """Return the item in the form of OpenAI's Responses API."""
        data = {name: value for name, value in self.data.items() if name != PRIVATE_FIELD}
        return {"id": self.public_id, **data, "status": self.status}


class EventBatch(models.Model):
    """Stream events of a background response, in their order, as JSON objects.

    Their numbers are `first_number` to `last_number`.
    """

    turn = models.ForeignKey(Turn, models.CASCADE, related_name="events", db_index=False)
    first_number = models.PositiveIntegerField()  # sequence_number of the first event in it
    last_number = models.PositiveIntegerField()
    events = models.JSONField()  # a list of event objects

    class Meta:
        ordering = ["turn", "first_number"]
        constraints = [
            models.UniqueConstraint(fields=["turn", "first_number"], name="eventbatch_once")
        ]

    def __str__(self) -> str:
        return f"{self.turn_id} {self.first_number}-{self.last_number}"
