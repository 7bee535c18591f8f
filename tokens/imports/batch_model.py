"""The models of imports: a batch, its sealed text until it is imported, and its verdicts."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from providers import vault
from providers.database.leases import LeaseQuerySet, is_free
from providers.models import Provider


class BatchState(models.TextChoices):
    WAITING = "waiting", _("waits to be checked")
    CHECKED = "checked", _("checked, not imported yet")
    IMPORTING = "importing", _("is being imported")
    IMPORTED = "imported", _("imported")
    UNDOING = "undoing", _("is being undone")
    UNDONE = "undone", _("undone")
    DISCARDED = "discarded", _("discarded")


WORKING_STATES = (BatchState.WAITING, BatchState.IMPORTING, BatchState.UNDOING)


class ImportBatchQuerySet(LeaseQuerySet, models.QuerySet["ImportBatch"]):
    """Batches, with the lease `working_until`."""

    def filter_waiting_for_work(self) -> "ImportBatchQuerySet":
        """Return the batches that a worker has to go on with, and that none works at now."""
        return self.filter(is_free("working_until"), state__in=WORKING_STATES)


class ImportBatch(models.Model):
    """One import of tokens: who did it, from which file, and the verdicts it came to.

    Tokens that it made refer to it, so that it can be undone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="import_batches")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(
        max_length=150, blank=True, help_text="The user who imported; empty: a command."
    )
    source = models.CharField(max_length=200, blank=True, help_text="The name of the file.")
    format = models.CharField(max_length=16, blank=True, help_text="For example <code>json</code>.")
    state = models.CharField(max_length=16, choices=BatchState, default=BatchState.WAITING)
    line_count = models.PositiveIntegerField(default=0, help_text="Lines or entries of the file.")
    skipped_count = models.PositiveIntegerField(default=0, help_text="Blank lines and comments.")
    counts = models.JSONField(default=dict, help_text="How many lines have each verdict.")
    deletes_used = models.BooleanField(
        default=False, help_text="Undoing it deletes tokens that were used already, too."
    )
    text_expires_at = models.DateTimeField(
        null=True, help_text="The sealed text is deleted then; empty: it is deleted."
    )
    working_until = models.DateTimeField(null=True, help_text="A process works at it until then.")
    progress = models.UUIDField(null=True, help_text="The progress of its work: TaskProgress.")
    imported_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True)
    undone_by = models.CharField(max_length=150, blank=True, help_text="The user who undid it.")

    objects = ImportBatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=BatchState.values), name="import_state_known"
            )
        ]
        indexes = [models.Index(fields=["created_at"], name="import_created")]

    def __str__(self) -> str:
        return self.source or str(self.pk)


class ImportText(models.Model):
    """A piece of the text of an import, sealed; deleted when the text is imported or too old."""

    batch = models.ForeignKey(ImportBatch, models.CASCADE, related_name="texts")
    number = models.PositiveIntegerField()
    sealed = models.TextField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["batch", "number"], name="import_text_once")]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.number}"

    def seal_text(self, text: str) -> None:
        """Seal `text` into this row, without saving it."""
        self.sealed = vault.encrypt_secret(text, self.owner)

    def unseal_text(self) -> str:
        """Return the text. Raises VaultError."""
        return vault.decrypt_secret(self.sealed, self.owner)

    @property
    def owner(self) -> str:
        return f"import:{self.batch_id}:{self.number}"


class VerdictPage(models.Model):
    """Some hundred verdicts of an import in the order of its lines; no secrets."""

    batch = models.ForeignKey(ImportBatch, models.CASCADE, related_name="verdict_pages")
    number = models.PositiveIntegerField()
    counts = models.JSONField(help_text="How many of its verdicts are of each kind.")
    verdicts = models.JSONField(help_text="Line, verdict, masked token and reason of each.")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "number"], name="import_verdicts_once")
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.number}"
