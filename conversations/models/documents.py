"""Document and Passage: a long text, and the passages that it is divided into.

A text is stored once for each owner and content.
"""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from conversations.models.files import StoredFile
from providers.database.leases import LeaseQuerySet, is_free, is_held


class DocumentState(models.TextChoices):
    """The state of a document, in OpenKimi's words."""

    UPLOADED = "uploaded", "uploaded"
    PROCESSING = "processing", "processing"
    INGESTED = "ingested", "ingested"
    EMPTY = "empty", "empty"
    ERROR = "error", "error"


def new_document_id() -> str:
    return f"doc_{secrets.token_hex(16)}"


class DocumentQuerySet(LeaseQuerySet, models.QuerySet["Document"]):
    def of_user(self, user_id: int) -> "DocumentQuerySet":
        """Return a user's own documents, without those of files that have expired."""
        is_expired = Q(file__expires_at__isnull=False, file__expires_at__lte=Now())
        is_expired |= Q(source__expires_at__isnull=False, source__expires_at__lte=Now())
        return self.defer_index().filter(~is_expired, user_id=user_id)

    def defer_index(self) -> "DocumentQuerySet":
        """Leave out the indexes, which are large and loaded on demand."""
        return self.defer("index")

    def filter_expired(self) -> "DocumentQuerySet":
        """Return documents that were unused for too long and that no process is ingesting."""
        processed = Q(state=DocumentState.PROCESSING) & is_held("alive_until")
        return self.filter(expires_at__lte=Now()).exclude(processed)

    def filter_claimable(self) -> "DocumentQuerySet":
        """Return the documents that may be claimed now.

        They are new ones, and those whose processing was broken off or failed, once the lease is
        over.
        """
        over = is_free("alive_until")
        begun = Q(state__in=(DocumentState.PROCESSING, DocumentState.ERROR))
        return self.filter(Q(state=DocumentState.UPLOADED) | (begun & over))

    def filter_awaiting_processing(self) -> "DocumentQuerySet":
        """Return the documents that should be ingested and are not."""
        return self.filter_claimable().exclude(state=DocumentState.ERROR)

    def filter_lacking_embeddings(self) -> "DocumentQuerySet":
        """Return ingested documents without embeddings that no process is embedding.

        The first passage's embedding is written last, so it shows whether all are there.
        """
        free = self.filter(is_free("alive_until"), state=DocumentState.INGESTED)
        first = Passage.objects.filter(document=models.OuterRef("pk"), number=0, embedding=None)
        return free.filter(models.Exists(first))


class Document(models.Model):
    """One long text of one user.

    `digest` is a hash of its content and of how it was divided, so that equal texts are stored
    once.
    """

    id = models.CharField(primary_key=True, max_length=48, default=new_document_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="documents", db_index=False
    )
    file = models.OneToOneField(
        StoredFile, models.CASCADE, null=True, blank=True, related_name="document"
    )
    source = models.ForeignKey(  # the file whose text it was made from, as summaries are
        StoredFile, models.CASCADE, null=True, blank=True, editable=False, related_name="derived"
    )
    digest = models.CharField(max_length=64, editable=False)
    title = models.CharField(max_length=255, blank=True)
    state = models.CharField(
        max_length=12, choices=DocumentState, default=DocumentState.UPLOADED, editable=False
    )
    reason = models.CharField(max_length=200, blank=True, editable=False)  # of an error
    chars = models.PositiveIntegerField(default=0, editable=False)
    index = models.BinaryField(null=True, editable=False)  # an outline with its index, packed
    # the name of the model and the length of its vectors
    embedding_model = models.CharField(max_length=255, blank=True, db_default="", editable=False)
    alive_until = models.DateTimeField(null=True, editable=False)  # while it is processed
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "digest"], condition=Q(file=None), name="document_once_per_user"
            ),
            models.CheckConstraint(
                condition=Q(state__in=DocumentState.values), name="document_state_known"
            ),
        ]
        indexes = [models.Index(fields=["user", "-created_at"], name="document_user_created")]

    def __str__(self) -> str:
        return self.title or self.pk


class Passage(models.Model):
    """One piece of a document: characters `start` to `end` of its text.

    `score` is its density (0..1).
    """

    document = models.ForeignKey(Document, models.CASCADE, related_name="passages", db_index=False)
    number = models.PositiveIntegerField()  # 0.. in the order of the text
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    score = models.FloatField()
    text = models.TextField()
    embedding = models.BinaryField(null=True)  # float32, little endian

    class Meta:
        ordering = ["document", "number"]
        constraints = [models.UniqueConstraint(fields=["document", "number"], name="passage_once")]

    def __str__(self) -> str:
        return f"{self.document_id} {self.number}"
