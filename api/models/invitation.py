"""Invitations: links with which people get an account of their own."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from api.models.api_key import ApiKey, is_list_of_text
from api.models.team import Team


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def filter_open(self) -> "InvitationQuerySet":
        """Return those that can be used now: not revoked, not expired, not used up."""
        return self.filter(
            revoked_at=None, expires_at__gt=timezone.now(), use_count__lt=F("most_uses")
        )

    def revoke(self) -> int:
        """Revoke these invitations; return how many were not revoked before."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class Invitation(models.Model):
    """A link that lets people create an account; only the digest of its secret is stored."""

    name = models.CharField(
        max_length=100,
        help_text="Who it is for; only staff see it. For example <code>Summer course</code>.",
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=16, editable=False)
    team = models.ForeignKey(
        Team,
        models.CASCADE,
        null=True,
        blank=True,
        help_text="The team of the new users, whose limits they share; empty: none.",
    )
    role = models.ForeignKey(
        Group,
        models.CASCADE,
        null=True,
        blank=True,
        help_text="Makes the new users members of staff with this role; empty: plain users.",
    )
    limits = models.CharField(
        "limits of each user",
        max_length=400,
        blank=True,
        help_text="For example <code>rpm=60,budget=5/day|50/month</code>; empty: none.",
    )
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[is_list_of_text],
        help_text="The models that each new user may use, one in a line; empty: every model.",
    )
    may_issue_keys = models.BooleanField(
        default=True,
        help_text="The new users may issue API keys of their own in the portal.",
    )
    gives_key = models.BooleanField(
        "gives a first key",
        default=True,
        help_text="Each new user gets an API key at once, which is shown once.",
    )
    most_uses = models.PositiveIntegerField(
        "number of uses",
        default=1,
        validators=[MinValueValidator(1)],
        help_text="So many people may use the link, for example 1.",
    )
    use_count = models.PositiveIntegerField("used", default=0, editable=False)
    expires_at = models.DateTimeField("expires", help_text="The link works until then.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name="made by",
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                name="invitation_uses_bounded", condition=Q(use_count__lte=F("most_uses"))
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


class InvitationUse(models.Model):
    """The account that somebody got with an invitation."""

    invitation = models.ForeignKey(Invitation, models.CASCADE, related_name="uses")
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="invitation_use"
    )
    key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    used_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.user}: {self.invitation}"
