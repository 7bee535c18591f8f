"""API keys, the credentials of callers."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

# the beginning of the keys of browser sessions (`api/playground/session_keys.py`); no other key has
# it, because they have no hyphen there
SESSION_KEY_PREFIX = "sk-ps-pg-"


def is_list_of_text(value: object) -> None:
    """Raise ValidationError unless the value is a list of non-empty strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValidationError("Give a list of model ids.")


class KeyQuerySet(models.QuerySet["ApiKey"]):
    def filter_valid(self) -> "KeyQuerySet":
        """Return the keys that are accepted now: not revoked, not expired, with an active user."""
        now = timezone.now()
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, user__is_active=True
        )

    def exclude_session_keys(self) -> "KeyQuerySet":
        """Return the keys that people have made, without those of the playground's sessions."""
        return self.exclude(prefix__startswith=SESSION_KEY_PREFIX)

    def revoke(self) -> int:
        """Revoke these keys and return how many were not revoked before.

        Every process refuses them in under a second. The keys that their users' sessions have for
        the playground end, too: they may have the rights of these. A session gets another one as
        long as its user has rights.
        """
        rows = self.filter(revoked_at=None)
        owners = set(rows.exclude_session_keys().values_list("user_id", flat=True))
        now = timezone.now()
        count = rows.update(revoked_at=now)
        if owners:
            of_sessions = ApiKey.objects.filter(prefix__startswith=SESSION_KEY_PREFIX)
            of_sessions.filter(user__in=owners, revoked_at=None).update(revoked_at=now)
        return count


class ApiKey(models.Model):
    """An API key of a user; only its keyed digest is stored, and a `prefix` to recognise it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(
        max_length=100, blank=True, help_text="What it is for, for example <code>laptop</code>."
    )
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[is_list_of_text],
        help_text='For example <code>["echo"]</code>; empty: every model.',
    )
    default_model = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Answers requests that name no model, for example <code>echo</code>; empty: they "
        "are refused.",
    )
    stores_content = models.BooleanField(
        "stores content",
        default=True,
        help_text="Off: no content of its requests is stored: no conversations, no files.",
    )
    remembers_sessions = models.BooleanField(
        "remembers sessions",
        default=False,
        help_text=(
            "On: requests with the same <code>session_id</code>, for example "
            "<code>holidays</code>, are one conversation. Off: they only share an upstream token."
        ),
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Refused after this time; empty: never."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed = models.BigIntegerField(
        default=0, editable=False, db_index=True
    )  # written by triggers: providers/database/revisions.py

    objects = KeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "API key"
        permissions = [("issue_own_keys", "Can issue API keys of their own in the portal")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="apikey_created")]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
