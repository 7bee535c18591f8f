"""The model McpServer: the servers whose tools the gateway runs for its callers."""

import uuid
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext as _

from providers import vault
from providers.models.validators import mcp_headers_are_clean
from providers.network.address_guard import find_base_url_problem
from providers.network.destination import find_origin

LABEL_VALIDATOR = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", "Letters, digits, hyphen and underscore only."
)
LEAST_ANSWER_BYTES = 1_024


def names_are_texts(names: object) -> None:
    """Raise ValidationError unless it is a list of names of tools."""
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValidationError('Give a list of names, for example ["search", "read_page"].')


class McpServerQuerySet(models.QuerySet["McpServer"]):
    """MCP servers."""

    def of_user(self, user_id: int) -> "McpServerQuerySet":
        """Return the servers that a user may use: those for everybody, and those for the user."""
        own = McpServer.objects.filter(users=user_id).values("pk")
        return self.filter(Q(for_everybody=True) | Q(pk__in=own), enabled=True)


class McpServer(models.Model):
    """An MCP server on the operator's list, which requests may name by its label or its URL.

    Its headers are sealed, and bound to the origin of its URL: at another address they are lost.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    label = models.CharField(
        max_length=64,
        unique=True,
        validators=[LABEL_VALIDATOR],
        help_text="What requests write as <code>server_label</code>, for example "
        "<code>docs</code>.",
    )
    url = models.CharField(
        "URL",
        max_length=500,
        unique=True,
        help_text="The address of its streamable HTTP, for example "
        "<code>https://mcp.example.com/mcp</code>.",
    )
    enabled = models.BooleanField(default=True)
    allow_private = models.BooleanField(
        default=False, help_text="Allow an address on this machine or network, and plain http."
    )
    sealed_headers = models.TextField(blank=True, default="", editable=False)
    takes_caller_headers = models.BooleanField(
        default=False,
        help_text="Send it <code>authorization</code> and <code>headers</code> of a request.",
    )
    allowed_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[names_are_texts],
        help_text='Names of tools that may be called, for example <code>["search"]</code>; empty: '
        "all.",
    )
    needs_approval = models.BooleanField(
        default=False,
        help_text="Each call needs the approval of the caller, whatever the request says.",
    )
    for_everybody = models.BooleanField(
        default=False, help_text="Every API key may use it; off: those of the users below."
    )
    users = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        blank=True,
        related_name="mcp_servers",
        help_text="Users whose API keys may use it.",
    )
    call_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1)],
        help_text="One call may take so long; empty: the setting MCP_CALL_SECONDS.",
    )
    answer_bytes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(LEAST_ANSWER_BYTES)],
        help_text="Largest answer, in bytes; empty: the setting MCP_ANSWER_BYTES.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = McpServerQuerySet.as_manager()

    class Meta:
        ordering = ["label"]
        verbose_name = "MCP server"
        constraints = [
            models.CheckConstraint(
                condition=Q(call_seconds=None) | Q(call_seconds__gt=0),
                name="mcpserver_call_seconds_positive",
            ),
            models.CheckConstraint(
                condition=Q(answer_bytes=None) | Q(answer_bytes__gte=LEAST_ANSWER_BYTES),
                name="mcpserver_answer_bytes_enough",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row; headers that were sealed for another origin are dropped."""
        if self.sealed_headers and self.read_headers() is None:
            self.sealed_headers = ""
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "sealed_headers"}
        super().save(*args, **kwargs)

    def clean(self) -> None:
        problem = find_base_url_problem(self.url, self.allow_private)
        if problem is not None:
            raise ValidationError({"url": problem})

    @property
    def header_binding(self) -> str:
        """Return the owner of the sealed headers: this row, and the origin of its address."""
        return f"mcp:{self.pk}:{find_origin(self.url)}"

    def seal_headers(self, headers: dict[str, str]) -> None:
        """Seal the headers into this row, without saving it. Raises ValidationError."""
        mcp_headers_are_clean(headers)
        self.sealed_headers = ""
        if headers:
            self.sealed_headers = vault.encrypt_secret(
                orjson.dumps(headers).decode(), self.header_binding
            )

    def read_headers(self) -> dict[str, str] | None:
        """Return the headers, or None when no key opens them for this row and its address."""
        if not self.sealed_headers:
            return {}
        try:
            text = vault.decrypt_secret(self.sealed_headers, self.header_binding)
        except vault.VaultError:
            return None
        headers: dict[str, str] = orjson.loads(text)
        return headers

    @property
    def header_names(self) -> str:
        """Return the names of the sealed headers, for people."""
        headers = self.read_headers()
        if headers is None:
            return _("They cannot be opened: give them again.")
        return ", ".join(headers)
