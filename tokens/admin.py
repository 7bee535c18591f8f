"""The admin of upstream tokens and of the accounts that sign in for them.

A secret is entered once and never shown. State is shown, and changed by actions.
"""

from datetime import datetime, timedelta
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
from django.utils.html import format_html, format_html_join
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
from tokens.forms import AccountForm, TokenForm, replace_secret
from tokens.imports import account_import
from tokens.maintenance import check_now
from tokens.models import State, UpstreamAccount, UpstreamToken
from tokens.querysets import DELETED_REASON, DISABLED_BY_AUTH, IS_RENEWABLE

FIELDS_SET_WITH_SECRET = (
    *(
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
    ),
)
MASK_END_LENGTH = 4  # characters of a secret that its mask ends with
MAX_LISTED_CHANGES = 20  # changes of a token's state that its page shows


def describe_state(token: UpstreamToken, now: datetime) -> tuple[str, str]:
    """Return a token's present state as the colour and the words of its badge."""
    if token.state == State.DISABLED:
        return "bad", "disabled"
    if token.expires_at is not None and token.expires_at <= now and not token.is_renewable:
        return "off", "expired"
    if token.rests_until is not None and token.rests_until > now:
        word = "resting" if token.state == State.ACTIVE else str(token.state)
        soon = token.rests_until - now < timedelta(days=1)
        form = "H:i:s" if soon else "j M Y"
        return "wait", f"{word} until {date_format(timezone.localtime(token.rests_until), form)}"
    return "good", "active"


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (name, name)
            for name in ("usable", "resting", "exhausted", "failing", "disabled", "expired")
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "usable":
                return queryset.filter_usable()  # type: ignore[attr-defined, no-any-return]
            case "resting":
                return queryset.filter(state=State.ACTIVE, rests_until__gt=now)
            case "exhausted":
                return queryset.filter(state=State.EXHAUSTED, rests_until__gt=now)
            case "failing":
                return queryset.filter(state=State.FAILING, rests_until__gt=now)
            case "disabled":
                return queryset.filter(state=State.DISABLED)
            case "expired":
                return (
                    queryset.filter(expires_at__lte=now)
                    .exclude(IS_RENEWABLE)
                    .exclude(state=State.DISABLED)
                )
        return queryset


@admin.register(UpstreamToken)
class UpstreamTokenAdmin(SecretSearch, SlicedDeletion, BigTableAdmin):
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
        "its id."
        " What you type is posted and stays out of addresses."
    )
    actions = ("check_tokens", "reset_tokens", "disable_tokens", "enable_tokens")
    readonly_fields = (
        *(
            "id",
            "token",
            "kind",
            "account_link",
            "is_renewable",
            "state_badge",
            "strikes",
            "requests",
            "failures",
        ),
        *("last_used", "last_failure", "created", "recent_changes"),
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
        secret = (
            ("secret",)
            if self.has_change_permission(request, obj) and obj.account_id is None
            else ()
        )
        counters = ("requests", "failures", "strikes", "last_used", "last_failure", "created", "id")
        account = ("account_link",) if obj.account_id is not None else ()
        return (
            (
                None,
                {
                    "fields": (
                        "token",
                        "provider",
                        *account,
                        "state_badge",
                        "kind",
                        "is_renewable",
                        *secret,
                    )
                },
            ),
            self.settings_fieldset,
            ("What happened", {"fields": counters}),
            ("Latest changes of its state", {"fields": ("recent_changes",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        """Return the read-only fields: a token stays with its provider, as no other must see it."""
        return self.readonly_fields if obj is None else ("provider", *self.readonly_fields)

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
        ends = Q(masked__endswith=f"…{term}") if len(term) == MASK_END_LENGTH else Q()
        return queryset.filter(ends | Q(masked__startswith=term) | Q(label__startswith=term))

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
        colour, word = describe_state(token, timezone.now())
        strikes = f"{token.strikes} strike{pluralize(token.strikes)}" if token.strikes else ""
        why = strikes if colour == "good" else token.reason
        return format_html('{} <span class="quiet">{}</span>', render_badge(colour, word), why)

    @admin.display(description="kind")
    def kind_and_expiry(self, token: UpstreamToken) -> SafeString | str:
        """Return the kind of the token, and its expiry if known."""
        if token.expires_at is None:
            return token.get_kind_display()
        ends = date_format(timezone.localtime(token.expires_at), "Y-m-d")
        return format_html(
            '{}<br><span class="quiet">until {}</span>', token.get_kind_display(), ends
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
        """Return a table of the latest changes.

        The id of the request that led to a change finds its usage record.
        """
        rows = [
            (
                date_format(timezone.localtime(row.at), "Y-m-d H:i:s"),
                row.before,
                row.after,
                row.reason,
                row.cause,
            )
            for row in token.transitions.all()[:MAX_LISTED_CHANGES]
        ]
        body = format_html_join(
            "", "<tr><td>{}</td><td>{} → {}</td><td>{} <code>{}</code></td></tr>", rows
        )
        return format_html('<table class="attempts">{}</table>', body) if rows else "none"

    @admin.action(description="Check selected tokens at their upstreams", permissions=["change"])
    def check_tokens(self, request: HttpRequest, queryset: Any) -> None:
        try:
            self.message_user(request, str(check_now.check_or_queue(queryset)), messages.SUCCESS)
        except check_now.WorkerUnreachable as error:
            self.message_user(request, str(error), messages.ERROR)

    @admin.action(description="Enable selected tokens that are disabled", permissions=["change"])
    def enable_tokens(self, request: HttpRequest, queryset: Any) -> None:
        disabled = queryset.filter(state=State.DISABLED)
        record_in_history(request, disabled, "Enabled.")
        count = disabled.reset_state()
        self.message_user(
            request, f"{render_count(UpstreamToken, count)} enabled.", messages.SUCCESS
        )

    @admin.action(description="Disable selected tokens", permissions=["change"])
    def disable_tokens(self, request: HttpRequest, queryset: Any) -> None:
        record_in_history(request, queryset, "Disabled.")
        count = queryset.mark_disabled(f"by {request.user.get_username()}")
        self.message_user(
            request, f"{render_count(UpstreamToken, count)} disabled.", messages.SUCCESS
        )

    @admin.action(
        description="Reset selected tokens: enable, no strikes, no rest", permissions=["change"]
    )
    def reset_tokens(self, request: HttpRequest, queryset: Any) -> None:
        record_in_history(request, queryset, "Reset.")
        count = queryset.reset_state()
        self.message_user(request, f"{render_count(UpstreamToken, count)} reset.", messages.SUCCESS)


# --- accounts -------------------------------------------------------------------------------------
@admin.register(UpstreamAccount)
class UpstreamAccountAdmin(SlicedDeletion, BigTableAdmin):
    form = AccountForm
    list_display = ("email", "provider", "state_badge", "token_link", "signed_in", "failures")
    list_select_related = ("provider", "token")
    list_filter = ("provider", "enabled")
    sortable_by = ("signed_in",)
    search_fields = ("email",)
    search_help_text = "The beginning of the e-mail address."
    actions = ("disable_accounts", "enable_accounts")
    readonly_fields = ("state_badge", "token_link", "failures", "signed_in", "created")
    signed_in = make_time_column("signed_in_at", "signed in")
    created = make_time_column("created_at", "created")

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamAccount | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "email", "password", "enabled")}),)
        password = ("password",) if self.has_change_permission(request, obj) else ()
        return (
            (None, {"fields": ("email", "provider", "state_badge", *password, "enabled")}),
            ("What happened", {"fields": ("token_link", "failures", "signed_in", "created")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamAccount | None = None) -> Any:
        """Return the read-only fields: an account with another address is another row."""
        return self.readonly_fields if obj is None else ("provider", "email", *self.readonly_fields)

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
            obj.seal_password(password)
            obj.failures = 0
            obj.reason = ""
            changed.update(("sealed", "failures", "reason"))
        obj.save(update_fields=changed if change else None)
        if password:
            account_import.create_missing_tokens(UpstreamAccount.objects.filter(pk=obj.pk))
            UpstreamToken.objects.filter(DISABLED_BY_AUTH, account=obj).reset_state()

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(email__startswith=term.lower())

    @admin.display(description="state")
    def state_badge(self, account: UpstreamAccount) -> SafeString:
        if not account.enabled:
            return render_badge("off", "off")
        if account.reason:
            return format_html(
                '{} <span class="quiet">{}</span>', render_badge("bad", "refused"), account.reason
            )
        return (
            render_badge("good", "signed in")
            if account.signed_in_at
            else render_badge("wait", "not signed in yet")
        )

    @admin.display(description="token")
    def token_link(self, account: UpstreamAccount) -> SafeString | str:
        token = getattr(account, "token", None)
        if token is None:
            return NO_VALUE
        address = reverse("admin:tokens_upstreamtoken_change", args=[token.pk])
        return format_html(
            '<a href="{}">{}</a> {}',
            address,
            token,
            render_badge(*describe_state(token, timezone.now())),
        )

    @admin.action(
        description="Switch selected accounts off: they do not sign in", permissions=["change"]
    )
    def disable_accounts(self, request: HttpRequest, queryset: Any) -> None:
        record_in_history(request, queryset, "Switched off.")
        self.message_user(
            request,
            f"{render_count(UpstreamAccount, queryset.update(enabled=False))} switched off.",
        )

    @admin.action(description="Switch selected accounts on", permissions=["change"])
    def enable_accounts(self, request: HttpRequest, queryset: Any) -> None:
        record_in_history(request, queryset, "Switched on.")
        self.message_user(
            request, f"{render_count(UpstreamAccount, queryset.update(enabled=True))} switched on."
        )
