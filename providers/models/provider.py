"""The model Provider: where an upstream is and how it is called."""

import logging
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from providers import registry, vault
from providers.choices import Mode, Rotation
from providers.exceptions import ProviderDown
from providers.models.validators import (
    NAME_VALIDATOR,
    dialect_changes_fit,
    dialect_exists,
    headers_are_clean,
    kind_exists,
)
from providers.network import destination
from providers.network.address_guard import find_base_url_problem
from providers.network.proxies import outbound_proxy
from providers.network.proxies.outbound_proxy import OutboundProxy

logger = logging.getLogger(__name__)

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
    proxy_url = models.CharField(
        "proxy",
        max_length=500,
        blank=True,
        default="",
        help_text="For example <code>http://june@proxy.example:8080</code> or "
        "<code>socks5://127.0.0.1:1080</code>; a password is taken out and sealed. "
        "<code>direct</code>: none; empty: the setting PROXY_URL.",
    )
    sealed_proxy_password = models.TextField(blank=True, default="", editable=False)
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
        password = self._take_proxy_password()
        super().save(*args, **kwargs)
        if password is not None:
            self.sealed_proxy_password = ""
            if password:
                self.sealed_proxy_password = vault.encrypt_secret(password, self.proxy_binding)
            super().save(update_fields=["sealed_proxy_password"])

    def _take_proxy_password(self) -> str | None:
        """Take the password out of the proxy's URL, and return it.

        Returns None when the sealed password stays in force, "" when it is of another proxy.
        """
        with suppress(ValueError):  # no proxy, or none that `clean` accepts
            self.proxy_url, password = outbound_proxy.split_password(self.proxy_url)
            if password:
                return password
        if self.sealed_proxy_password and not self._open_proxy_password():
            return ""
        return None

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

    # --- the proxy --------------------------------------------------------------------------------
    @property
    def proxy_binding(self) -> str:
        """Return the text that the sealed password is bound to.

        It opens for this row and this proxy alone: no other proxy ever gets it.
        """
        return f"proxy of provider {self.pk}: {self.proxy_url}"

    def _open_proxy_password(self) -> str:
        """Return the password; an empty string when there is none or it does not open."""
        if not self.sealed_proxy_password:
            return ""
        try:
            return vault.decrypt_secret(self.sealed_proxy_password, self.proxy_binding)
        except vault.VaultError as error:
            logger.warning("the password of the proxy of %s %s", self.name, error)
            return ""

    def find_proxy(self) -> OutboundProxy | None:
        """Return the proxy through which it is reached: its own, or that of the settings.

        A password that does not open is left out: the proxy refuses then, and nothing goes past it.
        Raises ProviderDown when the address of the proxy is not valid.
        """
        if self.proxy_url == outbound_proxy.DIRECT:
            return None
        try:
            if not self.proxy_url:
                return outbound_proxy.find_default_proxy(self.allow_private)
            return outbound_proxy.parse_proxy_url(self.proxy_url, self._open_proxy_password())
        except ValueError as error:
            raise ProviderDown(str(error)) from None

    def clean(self) -> None:
        if self.proxy_url and self.proxy_url != outbound_proxy.DIRECT:
            try:
                outbound_proxy.parse_proxy_url(self.proxy_url)
            except ValueError as error:
                raise ValidationError({"proxy_url": str(error)}) from None
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
