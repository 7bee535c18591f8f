"""The admin of MCP servers: the list of those whose tools the gateway runs."""

from typing import Any, cast

import orjson
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.admin.big_tables import NO_VALUE
from providers.models import McpServer
from providers.models.validators import mcp_headers_are_clean

SUPERUSER_FIELD = "allow_private"  # it opens the gateway's own network


class McpServerForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a server; anything that `user` (set by the admin) may not do is an error."""

    user: User
    headers = forms.CharField(
        label=gettext_lazy("headers"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "autocomplete": "off"}),
        help_text=gettext_lazy(
            'For example <code>{"Authorization": "Bearer …"}</code>; they are sealed and never '
            "shown again. Empty: keep the present ones. <code>{}</code>: none. A new host loses "
            "them."
        ),
    )

    class Meta:
        widgets = {
            "url": forms.TextInput(attrs={"class": "vTextField"}),
            "allowed_tools": forms.Textarea(attrs={"rows": 2, "cols": 60}),
        }

    def clean_headers(self) -> dict[str, str] | None:
        """Return the headers, None to keep the present ones."""
        text = self.cleaned_data["headers"].strip()
        if not text:
            return None
        try:
            headers = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValidationError(_("Give an object of header names and values.")) from None
        mcp_headers_are_clean(headers)
        return cast("dict[str, str]", headers)

    def clean(self) -> dict[str, Any]:
        """Return the fields; another address of a private server is an error for most users."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        is_moved = "url" in cleaned and cleaned["url"] != self.initial.get("url")
        if self.initial.get(SUPERUSER_FIELD) and is_moved and not self.user.is_superuser:
            text = _(
                "It may be on this machine or network: only a superuser may change its address."
            )
            self.add_error("url", text)
        return cleaned

    def save(self, commit: bool = True) -> McpServer:
        """Seal new headers into the row."""
        headers = self.cleaned_data.get("headers")
        if headers is not None:
            self.instance.seal_headers(headers)
        return cast(McpServer, super().save(commit))


@admin.register(McpServer)
class McpServerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The list of MCP servers and the page of one."""

    form = McpServerForm
    list_display = ("label", "url", "enabled", "for_everybody", "approvals", "kept_headers")
    list_filter = ("enabled", "for_everybody", "needs_approval")
    search_fields = ("label", "url")
    show_full_result_count = False
    autocomplete_fields = ("users",)
    readonly_fields = ("kept_headers",)
    fieldsets = (
        (None, {"fields": ("label", "url", "enabled", "allow_private")}),
        (
            gettext_lazy("Credentials"),
            {"fields": ("kept_headers", "headers", "takes_caller_headers")},
        ),
        (gettext_lazy("Who may use it"), {"fields": ("for_everybody", "users")}),
        (
            gettext_lazy("What may be called"),
            {"fields": ("allowed_tools", "needs_approval", "call_seconds", "answer_bytes")},
        ),
    )

    @admin.display(description=gettext_lazy("sealed headers"))
    def kept_headers(self, server: McpServer) -> str:
        """Return the names of the headers that are sealed in the row."""
        return server.header_names or NO_VALUE

    @admin.display(description=gettext_lazy("approvals"))
    def approvals(self, server: McpServer) -> str:
        return _("always") if server.needs_approval else _("as the request says")

    def get_form(
        self,
        request: HttpRequest,
        obj: McpServer | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the form class with the user who fills it in."""
        form_class: Any = super().get_form(request, obj, change, **kwargs)
        if not request.user.is_superuser and SUPERUSER_FIELD in form_class.base_fields:
            field = form_class.base_fields[SUPERUSER_FIELD]
            field.disabled = True
            field.help_text = f"{field.help_text} {_('Only a superuser may change this.')}"
        form_class.user = cast(User, request.user)
        return form_class
