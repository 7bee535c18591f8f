"""The log of conversations: a Conversation has ordered Turns.

A turn is one request with its answer: input items and output items (`turn_contents.py`). It is
written when the request begins, and finished before the caller sees the end of the answer. A chain
of responses is a conversation of the kind `thread`; a response that follows an older one starts a
thread that branches off there.
"""

import secrets
import uuid

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from conversations.models.documents import Document
from providers.database.leases import LeaseQuerySet, is_held


class ConversationKind(models.TextChoices):
    """How a conversation was created, and so which ids lead to it."""

    NAMED = "named", "named by the client"  # by path, conversation_id or session_id
    OPEN = "open", "made by /v1/conversations"
    THREAD = "thread", "responses and stored completions"


class TurnEndpoint(models.TextChoices):
    CHAT = "chat", "chat completion"
    RESPONSE = "response", "response"
    ITEMS = "items", "items put in by the client"


class TurnStatus(models.TextChoices):
    """The status of a turn, in OpenAI's words for a response."""

    QUEUED = "queued", "queued"
    IN_PROGRESS = "in_progress", "in progress"
    COMPLETED = "completed", "completed"
    INCOMPLETE = "incomplete", "incomplete"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


RUNNING_STATUSES = (TurnStatus.QUEUED, TurnStatus.IN_PROGRESS)
HISTORY_STATUSES = (TurnStatus.COMPLETED, TurnStatus.INCOMPLETE)


def is_in_history(turn: str = "") -> Q:
    """Return a condition for the turns that later turns include.

    `turn` is the name of the field that leads to the turn, if any.
    """
    prefix = f"{turn}__" if turn else ""
    return Q(**{f"{prefix}status__in": HISTORY_STATUSES, f"{prefix}is_replaced": False})


def new_conversation_id() -> str:
    return f"conv_{secrets.token_hex(16)}"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def of_user(self, user_id: int) -> "ConversationQuerySet":
        """Return a user's own conversations that have not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), user_id=user_id)

    def exclude_threads(self) -> "ConversationQuerySet":
        """Return the conversations that have an id of their own, which are all but threads."""
        return self.exclude(kind=ConversationKind.THREAD)

    def filter_expired(self) -> "ConversationQuerySet":
        """Return expired conversations without a running turn and without a living branch."""
        branches = Conversation.objects.filter(base_turn__conversation=OuterRef("pk"))
        living = branches.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
        running = Turn.objects.filter_running().filter(
            is_held("alive_until"), conversation=OuterRef("pk")
        )
        return self.filter(~Exists(living), ~Exists(running), expires_at__lte=Now())


class Conversation(models.Model):
    """One user's conversation.

    `chat_id` and `parent_id` are its place at an upstream that keeps it, on the token `token_id`.
    The upstream's chat has the turns up to `chat_turn`.
    """

    id = models.CharField(
        primary_key=True, max_length=48, default=new_conversation_id, editable=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations", db_index=False
    )
    kind = models.CharField(max_length=8, choices=ConversationKind, editable=False)
    # the client's own id; unique for its user
    name = models.CharField(max_length=200, blank=True, editable=False)
    title = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    base_turn = models.ForeignKey(
        "Turn", models.SET_NULL, null=True, related_name="branches", editable=False
    )
    system_turn = models.ForeignKey(
        "Turn", models.SET_NULL, null=True, related_name="+", db_index=False, editable=False
    )
    last_number = models.PositiveIntegerField(default=0, editable=False)  # number of its last turn
    token_id = models.UUIDField(null=True, editable=False)
    chat_id = models.CharField(max_length=200, blank=True, editable=False)
    parent_id = models.CharField(max_length=200, blank=True, editable=False)
    chat_turn = models.PositiveIntegerField(default=0, editable=False)
    idle_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Deleted after so many seconds without a turn, for example 604800.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)
    documents = models.ManyToManyField(Document, blank=True, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-used_at", "-id"]
        permissions = [("read_content", "Can read the content of conversations")]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "name"], condition=~Q(name=""), name="conversation_name_of_user"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=ConversationKind.values), name="conversation_kind_known"
            ),
            models.CheckConstraint(
                condition=(Q(kind=ConversationKind.NAMED) & ~Q(name=""))
                | (~Q(kind=ConversationKind.NAMED) & Q(name="")),
                name="conversation_named_has_name",
            ),
        ]
        indexes = [
            models.Index(
                fields=["user", "-used_at", "-id"],
                condition=~Q(kind=ConversationKind.THREAD),
                name="conversation_user_used",
            ),
            models.Index(fields=["-used_at", "-id"], name="conversation_used"),
            models.Index(fields=["user"], name="conversation_user"),
            models.Index(
                fields=["system_turn"],
                condition=Q(system_turn__isnull=False),
                name="conversation_system",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.name or self.pk

    def as_openai(self) -> dict[str, object]:
        """Return OpenAI's conversation object."""
        created = int(self.created_at.timestamp())
        return {
            "id": self.pk,
            "object": "conversation",
            "created_at": created,
            "metadata": self.metadata,
        }


class TurnQuerySet(LeaseQuerySet, models.QuerySet["Turn"]):
    """Turns with the lease `alive_until`: the process of a running turn renews it."""

    def filter_running(self) -> "TurnQuerySet":
        """Return the turns that have not ended, whether their process is alive or not."""
        return self.filter(status__in=RUNNING_STATUSES)


class Turn(models.Model):
    """One request in a conversation with its answer.

    Its id is the request's, so `resp_<hex>` and `chatcmpl-<hex>` are made of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="turns", db_index=False
    )
    user = models.ForeignKey(  # copied from the conversation, whose deletion deletes the turn
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    number = models.PositiveIntegerField()  # 1.. in its conversation
    endpoint = models.CharField(max_length=8, choices=TurnEndpoint)
    status = models.CharField(max_length=12, choices=TurnStatus)
    model = models.CharField(max_length=200, blank=True)
    stored = models.BooleanField(default=False)  # can be retrieved by its own id
    background = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict)
    # other options of the request, which its object repeats
    settings = models.JSONField(default=dict)
    extra_fields = models.JSONField(
        default=dict
    )  # additional fields of the answer, and further choices
    # steps, framework and candidates of a strategy, sent to the caller or not
    thinking = models.JSONField(default=dict)
    usage = models.JSONField(null=True)  # as a chat completion has it
    error = models.JSONField(null=True)  # {"code", "message"}
    finish_reason = models.CharField(max_length=32, blank=True)
    # estimate for its items; decides which turns fit into a window
    tokens = models.PositiveIntegerField(default=0)
    stored_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)  # estimate
    # its question was sent again: later turns leave it out
    is_replaced = models.BooleanField(default=False)
    asked_to_stop = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    # end of the lease that its process renews while it runs
    alive_until = models.DateTimeField(null=True)

    objects = TurnQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "number"], name="turn_number_once"),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status__in=RUNNING_STATUSES),
                name="turn_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(status__in=TurnStatus.values), name="turn_status_known"
            ),
            models.CheckConstraint(
                condition=Q(endpoint__in=TurnEndpoint.values), name="turn_endpoint_known"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=RUNNING_STATUSES) | Q(alive_until__isnull=False),
                name="turn_running_is_alive",
            ),
        ]
        indexes = [
            models.Index(
                fields=["user", "endpoint", "-id"], condition=Q(stored=True), name="turn_stored"
            ),
            models.Index(fields=["user", "stored_bytes"], name="turn_stored_bytes"),
            models.Index(
                fields=["alive_until"],
                condition=Q(status__in=RUNNING_STATUSES),
                name="turn_running",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.number}"
