"""The admin of upstream tokens: a secret is entered once and never shown."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from providers import vault
from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
    render_count,
)
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.secret_search import SecretSearch
from tokens.admin.token_state import StateFilter, describe_state, render_recent_changes
from tokens.admin.transfers.token_transfers import TokenTransfers
from tokens.forms import TokenForm, replace_secret
from tokens.maintenance import check_now
from tokens.models import State, UpstreamToken
from tokens.querysets import DELETED_REASON, TokenQuerySet

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
MASK_END_LENGTH = 4  # characters of a secret that its mask ends with


@admin.register(UpstreamToken)
class UpstreamTokenAdmin(TokenTransfers, SecretSearch, SlicedDeletion, BigTableAdmin):
    form = TokenForm
    list_display = (
        "token",
        "provider",
        "label",
        "state_badge",
        "kind_and_expiry",
        "requests",
        "last_used",
    )
    list_select_related = ("provider",)
    list_filter = ("provider", StateFilter)
    sortable_by = ("requests", "last_used")
    search_fields = ("masked",)
    search_help_text = (
        "A whole token, its last four characters, the beginning of its masked form or label, or "
        "its id. The text that you type is posted and stays out of addresses."
    )
    actions = ("check_tokens", "reset_tokens", "disable_tokens", "enable_tokens", "export_tokens")
    readonly_fields = (
        "id",
        "token",
        "kind",
        "account_link",
        "is_renewable",
        "state_badge",
        "strikes",
        "requests",
        "failures",
        "last_used",
        "last_failure",
        "created",
        "recent_changes",
    )
    last_used = make_time_column("last_used_at", "last used")
    last_failure = make_time_column("last_failure_at", "last failure")
    created = make_time_column("created_at", "created")
    settings_fieldset = ("Use", {"fields": ("label", "expires_at", "priority", "weight")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tokens without those being deleted, which may be very many."""
        return super().get_queryset(request).exclude(state=State.DISABLED, reason=DELETED_REASON)

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "secret")}), self.settings_fieldset)
        is_from_account = obj.account_id is not None
        main = ["token", "provider"]
        if is_from_account:
            main.append("account_link")
        main += ["state_badge", "kind", "is_renewable"]
        if not is_from_account and self.has_change_permission(request, obj):
            main.append("secret")
        counters = ("requests", "failures", "strikes", "last_used", "last_failure", "created", "id")
        return (
            (None, {"fields": main}),
            self.settings_fieldset,
            ("What happened", {"fields": counters}),
            ("Latest changes of its state", {"fields": ("recent_changes",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        """Return the read-only fields: a token stays with its provider, as no other must see it."""
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
        try:
            return queryset.filter(pk=UUID(term))
        except ValueError:
            pass
        matches = Q(masked__startswith=term) | Q(label__startswith=term)
        if len(term) == MASK_END_LENGTH:
            matches |= Q(masked__endswith=f"…{term}")
        return queryset.filter(matches)

    def find_by_secret(self, queryset: QuerySet[Any], secret: str) -> QuerySet[Any]:
        return queryset.filter(fingerprint=vault.fingerprint_secret(secret))

    def get_public_name(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description="token")
    def token(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description="state")
    def state_badge(self, token: UpstreamToken) -> SafeString:
        """Return the badge and, unless all is well, the reason."""
        if token.provider.set_aside_reason:
            address = reverse("admin:providers_provider_confirm", args=[token.provider_id])
            return format_html(
                '{} <a class="quiet" href="{}">why</a>', render_badge("bad", "set aside"), address
            )
        colour, words = describe_state(token, timezone.now())
        detail = token.reason
        if colour == "good":
            detail = describe_strikes(token.strikes)
        return format_html('{} <span class="quiet">{}</span>', render_badge(colour, words), detail)

    @admin.display(description="kind")
    def kind_and_expiry(self, token: UpstreamToken) -> SafeString | str:
        """Return the kind of the token, and its expiry if known."""
        if token.expires_at is None:
            return token.get_kind_display()
        last_day = date_format(timezone.localtime(token.expires_at), "Y-m-d")
        return format_html(
            '{}<br><span class="quiet">until {}</span>', token.get_kind_display(), last_day
        )

    @admin.display(description="account")
    def account_link(self, token: UpstreamToken) -> SafeString | str:
        if token.account is None:
            return NO_VALUE
        address = reverse("admin:tokens_upstreamaccount_change", args=[token.account.pk])
        return format_html('<a href="{}">{}</a>', address, token.account)

    @admin.display(description="renewed by itself", boolean=True)
    def is_renewable(self, token: UpstreamToken) -> bool:
        return token.is_renewable

    @admin.display(description="changes")
    def recent_changes(self, token: UpstreamToken) -> SafeString | str:
        return render_recent_changes(token)

    @admin.action(description="Check selected tokens at their upstreams", permissions=["change"])
    def check_tokens(self, request: HttpRequest, queryset: TokenQuerySet) -> None:
        try:
            summary = check_now.check_or_queue(queryset)
        except check_now.WorkerUnreachable as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, str(summary), messages.SUCCESS)

    @admin.action(description="Enable selected tokens that are disabled", permissions=["change"])
    def enable_tokens(self, request: HttpRequest, queryset: TokenQuerySet) -> None:
        disabled = queryset.filter(state=State.DISABLED)
        record_in_history(request, disabled, "Enabled.")
        self._report_count(request, disabled.reset_state(), "enabled")

    @admin.action(description="Disable selected tokens", permissions=["change"])
    def disable_tokens(self, request: HttpRequest, queryset: TokenQuerySet) -> None:
        record_in_history(request, queryset, "Disabled.")
        count = queryset.mark_disabled(f"by {request.user.get_username()}")
        self._report_count(request, count, "disabled")

    @admin.action(
        description="Reset selected tokens: enable, no strikes, no cooldown", permissions=["change"]
    )
    def reset_tokens(self, request: HttpRequest, queryset: TokenQuerySet) -> None:
        record_in_history(request, queryset, "Reset.")
        self._report_count(request, queryset.reset_state(), "reset")

    def _report_count(self, request: HttpRequest, count: int, verb: str) -> None:
        text = f"{render_count(UpstreamToken, count)} {verb}."
        self.message_user(request, text, messages.SUCCESS)


def describe_strikes(strikes: int) -> str:
    """Return for example `2 strikes`, or an empty string for none."""
    if not strikes:
        return ""
    return f"{strikes} strike{pluralize(strikes)}"
