"""The admin of upstream tokens: a secret is entered once and never shown."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from providers import vault
from providers.admin.big_tables import NO_VALUE, BigTableAdmin, make_time_column
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.page_sections import TOKEN_PAGE, PageWithParts
from providers.admin.secret_search import SecretSearch
from tokens.admin import token_pages
from tokens.admin.token_actions import TokenActions
from tokens.admin.token_columns import TokenColumns
from tokens.admin.token_filters import (
    AgeFilter,
    CheckFilter,
    KindFilter,
    ReasonFilter,
    StateFilter,
)
from tokens.admin.token_move import move_tokens
from tokens.admin.transfers.token_transfers import TokenTransfers
from tokens.forms import TokenForm, replace_secret
from tokens.models import UpstreamToken
from tokens.querysets import TokenQuerySet
from tokens.token_filter import exclude_deleted, filter_term

FIELDS_SET_WITH_SECRET = (
    "sealed",
    "sealed_refresh",
    "fingerprint",
    "masked",
    "kind",
    "state",
    "strikes",
    "rests_until",
    "reason",
    "cause",
)


@admin.register(UpstreamToken)
class UpstreamTokenAdmin(
    PageWithParts,
    TokenTransfers,
    TokenActions,
    TokenColumns,
    SecretSearch,
    SlicedDeletion,
    BigTableAdmin,
):
    form = TokenForm
    page_parts = TOKEN_PAGE
    pk_converter = "uuid"
    list_display = (
        "token",
        "provider",
        "state_badge",
        "failures",
        "strikes",
        "success_rate",
        "last_used",
        "last_checked",
        "kind_and_expiry",
    )
    list_select_related = ("provider", "last_check")
    list_filter = ("provider", StateFilter, ReasonFilter, CheckFilter, AgeFilter, KindFilter)
    sortable_by = ("failures", "last_used")  # these have an index
    search_fields = ("masked",)
    search_help_text = gettext_lazy(
        "A whole token, its last four characters, the beginning of its masked form or label, or "
        "its id. The text that you type is posted and stays out of addresses."
    )
    actions = (
        "check_tokens",
        "reset_tokens",
        "enable_tokens",
        "disable_tokens",
        "move_tokens",
        "export_tokens",
    )
    readonly_fields = (
        "id",
        "token",
        "kind",
        "account_link",
        "batch_link",
        "is_renewable",
        "state_badge",
        "strikes",
        "requests",
        "failures",
        "success_rate",
        "last_used",
        "last_failure",
        "last_checked",
        "created",
    )
    last_failure = make_time_column("last_failure_at", gettext_lazy("last failure"))
    created = make_time_column("created_at", gettext_lazy("created"))
    settings_fieldset = (
        gettext_lazy("Use"),
        {"fields": ("label", "expires_at", "priority", "weight")},
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tokens without those being deleted, which may be very many."""
        rows = super().get_queryset(request)
        assert isinstance(rows, TokenQuerySet)  # noqa: S101
        return exclude_deleted(rows)

    def get_urls(self) -> list[Any]:
        pages = (
            ("move/", move_tokens, "move_chosen"),
            ("result/<uuid:task_id>/", token_pages.show_result, "result"),
            ("result/<uuid:task_id>/stop/", token_pages.stop_order, "stop"),
            ("result/<uuid:task_id>/resume/", token_pages.resume_order, "resume"),
        )
        urls = [
            path(address, self.admin_site.admin_view(view), name=f"tokens_upstreamtoken_{name}")
            for address, view, name in pages
        ]
        return [*urls, *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "secret")}), self.settings_fieldset)
        is_from_account = obj.account_id is not None
        main = ["token", "provider"]
        if is_from_account:
            main.append("account_link")
        if obj.import_batch_id is not None:
            main.append("batch_link")
        main += ["state_badge", "kind", "is_renewable"]
        if not is_from_account and self.has_change_permission(request, obj):
            main.append("secret")
        counters = (
            "requests",
            "failures",
            "success_rate",
            "strikes",
            "last_used",
            "last_failure",
            "last_checked",
            "created",
            "id",
        )
        return (
            (None, {"fields": main}),
            self.settings_fieldset,
            (gettext_lazy("What happened"), {"fields": counters}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        """Return the read-only fields: a button moves a token, so that nobody does it by chance."""
        if obj is None:
            return self.readonly_fields
        return ("provider", *self.readonly_fields)

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UpstreamToken, form: Any, change: bool) -> None:
        """Write only the changed fields: the gateway writes counters and state at the same time."""
        changed = set(form.changed_data) - {"secret"}
        if secret := form.cleaned_data.get("secret"):
            replace_secret(obj, secret, has_chosen_expiry="expires_at" in changed)
            changed.update(FIELDS_SET_WITH_SECRET)
        obj.save(update_fields=changed if change else None)

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        assert isinstance(queryset, TokenQuerySet)  # noqa: S101
        return filter_term(queryset, term)

    def find_by_secret(self, queryset: QuerySet[Any], secret: str) -> QuerySet[Any]:
        return queryset.filter(fingerprint=vault.fingerprint_secret(secret))

    def get_public_name(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description=gettext_lazy("account"))
    def account_link(self, token: UpstreamToken) -> SafeString | str:
        if token.account is None:
            return NO_VALUE
        address = reverse("admin:tokens_upstreamaccount_change", args=[token.account.pk])
        return format_html('<a href="{}">{}</a>', address, token.account)

    @admin.display(description=gettext_lazy("imported with"))
    def batch_link(self, token: UpstreamToken) -> SafeString | str:
        """Return links to the import that brought it, and to the tokens of that import."""
        if token.import_batch is None:
            return NO_VALUE
        batch = token.import_batch
        query = urlencode({"import_batch__exact": batch.pk})
        return format_html(
            '<a href="{}">{}</a> · <a href="{}?{}">{}</a>',
            reverse("admin:tokens_importbatch_change", args=[batch.pk]),
            batch,
            reverse("admin:tokens_upstreamtoken_changelist"),
            query,
            _("its tokens"),
        )

    @admin.display(description=gettext_lazy("renewed by itself"))
    def is_renewable(self, token: UpstreamToken) -> str:
        return _("yes") if token.is_renewable else _("no")
