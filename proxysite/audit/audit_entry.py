"""One line of the audit log."""

from django.db import models
from django.utils import timezone

LONGEST_NAME = 200  # characters of the name of a row or of an actor
LONGEST_MESSAGE = 1_000
# the models whose saved and deleted rows are recorded with their values
AUDITED_MODELS = frozenset(
    """
    auth.user auth.group
    api.apikey api.limitset api.team api.teammember api.price api.invitation
    providers.provider providers.chatmodel providers.modelalias providers.virtualmodel
    providers.mcpserver
    tokens.upstreamtoken tokens.upstreamaccount
    """.split()
)


class AuditAction(models.TextChoices):
    """The kind of a deed."""

    ADDED = "added", "added"
    CHANGED = "changed", "changed"
    DELETED = "deleted", "deleted"
    DONE = "done", "done"
    LOGIN = "login", "logged in"
    LOGOUT = "logout", "logged out"
    COMMAND = "command", "command run"


class AuditEntry(models.Model):
    """A deed of a person or of a command; it refers to no row, so it outlives all of them."""

    at = models.DateTimeField("time", default=timezone.now, db_index=True)
    actor_id = models.BigIntegerField(
        null=True, help_text="The id of the user; empty for the command line."
    )
    actor_name = models.CharField("who", max_length=LONGEST_NAME, db_index=True)
    address = models.CharField(
        "from", max_length=64, blank=True, help_text="The network address of the person."
    )
    action = models.CharField("action", max_length=16, choices=AuditAction)
    model = models.CharField(
        max_length=100, blank=True, help_text="The kind of row, for example api.apikey."
    )
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField("object", max_length=LONGEST_NAME, blank=True)
    message = models.CharField("message", max_length=LONGEST_MESSAGE, blank=True)
    changes = models.JSONField(
        "changes",
        default=dict,
        help_text="Of each changed field the values before and after; never a secret.",
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["model", "object_id"], name="audit_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_name}".strip()
