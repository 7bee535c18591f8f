"""The admin of the accounts that sign in for tokens: a password is entered and never shown."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
    render_count,
)
from providers.admin.deletion_admin import SlicedDeletion
from tokens.admin.token_state import describe_state
from tokens.forms import AccountForm
from tokens.imports import account_import
from tokens.models import UpstreamAccount


@admin.register(UpstreamAccount)
class UpstreamAccountAdmin(SlicedDeletion, BigTableAdmin):
    form = AccountForm
    list_display = ("email", "provider", "state_badge", "token_link", "signed_in", "failures")
    list_select_related = ("provider", "token")
    list_filter = ("provider", "enabled")
    sortable_by = ("signed_in",)
    search_fields = ("email",)
    search_help_text = _("The beginning of the e-mail address.")
    actions = ("disable_accounts", "enable_accounts")
    readonly_fields = ("state_badge", "token_link", "failures", "signed_in", "created")
    signed_in = make_time_column("signed_in_at", _("signed in"))
    created = make_time_column("created_at", _("created"))

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamAccount | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "email", "password", "enabled")}),)
        main = ["email", "provider", "state_badge"]
        if self.has_change_permission(request, obj):
            main.append("password")
        main.append("enabled")
        return (
            (None, {"fields": main}),
            (_("What happened"), {"fields": ("token_link", "failures", "signed_in", "created")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamAccount | None = None) -> Any:
        """Return the read-only fields: an account with another address is another row."""
        if obj is None:
            return self.readonly_fields
        return ("provider", "email", *self.readonly_fields)

    @method_decorator(sensitive_post_parameters("password"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: UpstreamAccount, form: Any, change: bool
    ) -> None:
        """Write only the changed fields: a sign-in writes to the row at the same time.

        An account without a token gets one.
        """
        changed = set(form.changed_data) - {"password"}
        if password := form.cleaned_data.get("password"):
            account_import.replace_password(obj, password)
            changed.update(account_import.FIELDS_SET_WITH_PASSWORD)
        obj.save(update_fields=changed if change else None)
        if password:
            account_import.create_missing_tokens(UpstreamAccount.objects.filter(pk=obj.pk))
            account_import.enable_rejected_token(obj)

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(email__startswith=term.lower())

    @admin.display(description=_("state"))
    def state_badge(self, account: UpstreamAccount) -> SafeString:
        if not account.enabled:
            return render_badge("off", _("off"))
        if account.reason:
            return format_html(
                '{} <span class="quiet">{}</span>',
                render_badge("bad", _("refused")),
                account.reason,
            )
        if account.signed_in_at is None:
            return render_badge("wait", _("not signed in yet"))
        return render_badge("good", _("signed in"))

    @admin.display(description=_("token"))
    def token_link(self, account: UpstreamAccount) -> SafeString | str:
        token = getattr(account, "token", None)
        if token is None:
            return NO_VALUE
        address = reverse("admin:tokens_upstreamtoken_change", args=[token.pk])
        badge = render_badge(*describe_state(token, timezone.now()))
        return format_html('<a href="{}">{}</a> {}', address, token, badge)

    @admin.action(
        description=_("Switch selected accounts off: they do not sign in"), permissions=["change"]
    )
    def disable_accounts(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        record_in_history(request, queryset, "Switched off.")
        count = queryset.update(enabled=False)
        self.message_user(
            request,
            _("%(accounts)s switched off.") % {"accounts": render_count(UpstreamAccount, count)},
        )

    @admin.action(description=_("Switch selected accounts on"), permissions=["change"])
    def enable_accounts(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        record_in_history(request, queryset, "Switched on.")
        count = queryset.update(enabled=True)
        self.message_user(
            request,
            _("%(accounts)s switched on.") % {"accounts": render_count(UpstreamAccount, count)},
        )
