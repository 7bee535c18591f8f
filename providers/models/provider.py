"""The model Provider: where an upstream is and how it is called."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from providers import registry
from providers.choices import Mode, Rotation
from providers.models.validators import (
    NAME_VALIDATOR,
    dialect_changes_fit,
    dialect_exists,
    headers_are_clean,
    kind_exists,
)
from providers.network import destination
from providers.network.address_guard import find_base_url_problem

SECONDS_FIELDS = ("connect_seconds", "first_byte_seconds", "gap_seconds", "total_seconds")


def make_seconds_field(setting: str) -> "models.FloatField[float | None, float | None]":
    """Return a column for a time limit; where it is empty, the setting applies."""
    return models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text=f"Empty: the setting {setting}.",
    )


class ProviderQuerySet(models.QuerySet["Provider"]):
    def list_set_aside_ids(self) -> list[int]:
        """Return the ids of providers that are not called until a person confirms their address.

        It reads all rows: a few hundred at most.
        """
        columns = self.only("pk", "kind", "base_url", "confirmed_destination")
        return [provider.pk for provider in columns if provider.set_aside_reason]


class Provider(models.Model):
    """One upstream: where it is, which dialect it speaks, how its tokens are rotated."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[NAME_VALIDATOR],
        help_text="Short name, for example <code>moonshot</code>.",
    )
    kind = models.CharField(
        max_length=64,
        validators=[kind_exists],
        help_text=(
            "The adapter that speaks its dialect, for example <code>openai_compatible</code>."
        ),
    )
    base_url = models.CharField(
        max_length=500,
        blank=True,
        help_text="Everything before <code>/chat/completions</code>, for example "
        "<code>https://api.moonshot.ai/v1</code>.",
    )
    enabled = models.BooleanField(default=True, help_text="Off: none of its models answers.")
    rotation = models.CharField(
        max_length=16,
        choices=Rotation,
        default=Rotation.ROUND_ROBIN,
        help_text="Which token is used next.",
    )
    mode = models.CharField(
        max_length=16,
        choices=Mode,
        default=Mode.USER,
        help_text="Guest: where the upstream has such an entrance.",
    )
    needs_token = models.BooleanField(
        default=True,
        help_text="Off for upstreams that ask for no credential, for example a local Ollama.",
    )
    native_tools = models.BooleanField(
        default=True, help_text="Off when its models cannot call tools themselves."
    )
    reports_usage = models.BooleanField(
        default=True,
        help_text="Off when it refuses <code>stream_options</code>; tokens are then counted here.",
    )
    dialect = models.CharField(
        max_length=32,
        blank=True,
        validators=[dialect_exists],
        help_text="How it differs from OpenAI, for example <code>mistral</code>; empty: found by "
        "its kind and address.",
    )
    dialect_changes = models.JSONField(
        default=dict,
        blank=True,
        validators=[dialect_changes_fit],
        help_text="What else is different, for example "
        '<code>{"limit_field": "max_tokens"}</code>; the fields are listed in '
        "<code>docs/dialects.md</code>.",
    )
    allow_private = models.BooleanField(
        default=False, help_text="Allow an address on this machine or network, and plain http."
    )
    headers = models.JSONField(
        default=dict,
        blank=True,
        validators=[headers_are_clean],
        help_text='Extra headers, for example <code>{"OpenAI-Organization": "org-1"}</code>.',
    )
    connect_seconds = make_seconds_field("CONNECT_SECONDS")
    first_byte_seconds = make_seconds_field("FIRST_BYTE_SECONDS")
    gap_seconds = make_seconds_field("GAP_SECONDS")
    total_seconds = make_seconds_field("TOTAL_SECONDS")
    confirmed_destination = models.CharField(
        max_length=500,
        blank=True,
        editable=False,
        help_text="The origin that its tokens may be sent to.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProviderQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rotation__in=Rotation.values), name="provider_rotation_known"
            ),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="provider_mode_known"),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gt": 0}),
                    name=f"provider_{name}_positive",
                )
                for name in SECONDS_FIELDS
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row; confirm a new address if the provider has no credentials to lose."""
        if self._state.adding or (self.set_aside_reason and not self.has_credentials()):
            self.confirm_destination()
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "confirmed_destination"}
        super().save(*args, **kwargs)

    @property
    def destination(self) -> str:
        """Return the origin that its credentials go to; empty where its adapter sends none."""
        return destination.destination(self.kind, self.base_url)

    @property
    def set_aside_reason(self) -> str:
        """Return why it is not called until a person confirms its address; empty when it is called.

        The text is for the staff.
        """
        if self._state.adding:
            return ""
        return destination.find_destination_problem(self)

    def has_credentials(self) -> bool:
        """Return whether its address gets credentials: tokens, accounts or callers' tokens."""
        gets_callers_tokens = self.name == settings.PASSTHROUGH_PROVIDER
        return gets_callers_tokens or any(
            getattr(self, name).exists() for name in ("tokens", "accounts")
        )

    def confirm_destination(self) -> None:
        """Set the present address as the one that credentials may be sent to; the caller saves."""
        self.confirmed_destination = self.destination

    def clean(self) -> None:
        # an empty list or text passes the field's own validators
        if not isinstance(self.headers, dict):
            raise ValidationError({"headers": "Give an object of header names and values."})
        if self.kind not in registry.list_adapter_kinds():
            return
        adapter = registry.get_adapter_class(self.kind)
        if self.mode not in adapter.modes:
            raise ValidationError({"mode": f"{adapter.label} has no entrance for guests."})
        if adapter.has_url:
            problem = find_base_url_problem(self.base_url, self.allow_private)
            if problem:
                raise ValidationError({"base_url": problem})
            self.base_url = self.base_url.rstrip("/")
