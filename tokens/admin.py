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
from providers.admin.big_tables import NOTHING, BigTableAdmin, audit, badge, counted, moment
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.secret_search import SecretSearch
from tokens.forms import AccountForm, TokenForm, take
from tokens.imports import account_import
from tokens.maintenance import check_now
from tokens.models import State, UpstreamAccount, UpstreamToken
from tokens.querysets import BY_AUTH, DELETED, RENEWABLE

WRITTEN_WITH_SECRET = (
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
SHOWN_END = 4  # characters of a secret that its mask ends with
SHOWN_CHANGES = 20  # changes of a token's state that its page shows


def state(token: UpstreamToken, now: datetime) -> tuple[str, str]:
    """Return a token's present state as the colour and the words of its badge."""
    if token.state == State.DISABLED:
        return "bad", "disabled"
    if token.expires_at is not None and token.expires_at <= now and not token.renewable:
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
                return queryset.usable()  # type: ignore[attr-defined, no-any-return]
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
                    .exclude(RENEWABLE)
                    .exclude(state=State.DISABLED)
                )
        return queryset


@admin.register(UpstreamToken)
class UpstreamTokenAdmin(SecretSearch, SlicedDeletion, BigTableAdmin):
    form = TokenForm
    list_display = ("token", "provider", "label", "standing", "kept_until", "requests", "last_used")
    list_select_related = ("provider",)
    list_filter = ("provider", StateFilter)
    sortable_by = ("requests", "last_used")
    search_fields = ("masked",)
    search_help_text = (
        "A whole token, its last four characters, the beginning of its masked form or label, or "
        "its id."
        " What you type is posted and stays out of addresses."
    )
    actions = ("check_tokens", "reset", "disable", "enable")
    readonly_fields = (
        *(
            "id",
            "token",
            "kind",
            "of_account",
            "renews",
            "standing",
            "strikes",
            "requests",
            "failures",
        ),
        *("last_used", "last_failure", "created", "changes"),
    )
    last_used = moment("last_used_at", "last used")
    last_failure = moment("last_failure_at", "last failure")
    created = moment("created_at", "created")
    settings_fieldset = ("Use", {"fields": ("label", "expires_at", "priority", "weight")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tokens without those being deleted, which may be very many."""
        return super().get_queryset(request).exclude(state=State.DISABLED, reason=DELETED)

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "secret")}), self.settings_fieldset)
        secret = (
            ("secret",)
            if self.has_change_permission(request, obj) and obj.account_id is None
            else ()
        )
        counters = ("requests", "failures", "strikes", "last_used", "last_failure", "created", "id")
        account = ("of_account",) if obj.account_id is not None else ()
        return (
            (
                None,
                {"fields": ("token", "provider", *account, "standing", "kind", "renews", *secret)},
            ),
            self.settings_fieldset,
            ("What happened", {"fields": counters}),
            ("Latest changes of its state", {"fields": ("changes",)}),
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
            take(obj, secret, dated="expires_at" in changed)
            changed.update(WRITTEN_WITH_SECRET)
        obj.save(update_fields=changed if change else None)

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        try:
            return queryset.filter(pk=UUID(term))
        except ValueError:
            pass
        ends = Q(masked__endswith=f"…{term}") if len(term) == SHOWN_END else Q()
        return queryset.filter(ends | Q(masked__startswith=term) | Q(label__startswith=term))

    def by_secret(self, queryset: QuerySet[Any], secret: str) -> QuerySet[Any]:
        return queryset.filter(fingerprint=vault.fingerprint(secret))

    def open_name(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description="token")
    def token(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description="state")
    def standing(self, token: UpstreamToken) -> SafeString:
        """Return the badge and, unless all is well, the reason."""
        if token.provider.set_aside:
            address = reverse("admin:providers_provider_confirm", args=[token.provider_id])
            return format_html(
                '{} <a class="quiet" href="{}">why</a>', badge("bad", "set aside"), address
            )
        colour, word = state(token, timezone.now())
        strikes = f"{token.strikes} strike{pluralize(token.strikes)}" if token.strikes else ""
        why = strikes if colour == "good" else token.reason
        return format_html('{} <span class="quiet">{}</span>', badge(colour, word), why)

    @admin.display(description="kind")
    def kept_until(self, token: UpstreamToken) -> SafeString | str:
        """Return the kind of the token, and its expiry if known."""
        if token.expires_at is None:
            return token.get_kind_display()
        ends = date_format(timezone.localtime(token.expires_at), "Y-m-d")
        return format_html(
            '{}<br><span class="quiet">until {}</span>', token.get_kind_display(), ends
        )

    @admin.display(description="account")
    def of_account(self, token: UpstreamToken) -> SafeString | str:
        if token.account is None:
            return NOTHING
        address = reverse("admin:tokens_upstreamaccount_change", args=[token.account.pk])
        return format_html('<a href="{}">{}</a>', address, token.account)

    @admin.display(description="renewed by itself", boolean=True)
    def renews(self, token: UpstreamToken) -> bool:
        return token.renewable

    @admin.display(description="changes")
    def changes(self, token: UpstreamToken) -> SafeString | str:
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
            for row in token.transitions.all()[:SHOWN_CHANGES]
        ]
        body = format_html_join(
            "", "<tr><td>{}</td><td>{} → {}</td><td>{} <code>{}</code></td></tr>", rows
        )
        return format_html('<table class="attempts">{}</table>', body) if rows else "none"

    @admin.action(description="Check selected tokens at their upstreams", permissions=["change"])
    def check_tokens(self, request: HttpRequest, queryset: Any) -> None:
        try:
            self.message_user(request, str(check_now.inspect(queryset)), messages.SUCCESS)
        except check_now.NoWorker as error:
            self.message_user(request, str(error), messages.ERROR)

    @admin.action(description="Enable selected tokens that are disabled", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: Any) -> None:
        disabled = queryset.filter(state=State.DISABLED)
        audit(request, disabled, "Enabled.")
        count = disabled.reset()
        self.message_user(request, f"{counted(UpstreamToken, count)} enabled.", messages.SUCCESS)

    @admin.action(description="Disable selected tokens", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Disabled.")
        count = queryset.disable(f"by {request.user.get_username()}")
        self.message_user(request, f"{counted(UpstreamToken, count)} disabled.", messages.SUCCESS)

    @admin.action(
        description="Reset selected tokens: enable, no strikes, no rest", permissions=["change"]
    )
    def reset(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Reset.")
        count = queryset.reset()
        self.message_user(request, f"{counted(UpstreamToken, count)} reset.", messages.SUCCESS)


# --- accounts -------------------------------------------------------------------------------------
@admin.register(UpstreamAccount)
class UpstreamAccountAdmin(SlicedDeletion, BigTableAdmin):
    form = AccountForm
    list_display = ("email", "provider", "standing", "its_token", "signed_in", "failures")
    list_select_related = ("provider", "token")
    list_filter = ("provider", "enabled")
    sortable_by = ("signed_in",)
    search_fields = ("email",)
    search_help_text = "The beginning of the e-mail address."
    actions = ("disable", "enable")
    readonly_fields = ("standing", "its_token", "failures", "signed_in", "created")
    signed_in = moment("signed_in_at", "signed in")
    created = moment("created_at", "created")

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamAccount | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "email", "password", "enabled")}),)
        password = ("password",) if self.has_change_permission(request, obj) else ()
        return (
            (None, {"fields": ("email", "provider", "standing", *password, "enabled")}),
            ("What happened", {"fields": ("its_token", "failures", "signed_in", "created")}),
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
            obj.hide(password)
            obj.failures = 0
            obj.reason = ""
            changed.update(("sealed", "failures", "reason"))
        obj.save(update_fields=changed if change else None)
        if password:
            account_import.complete(UpstreamAccount.objects.filter(pk=obj.pk))
            UpstreamToken.objects.filter(BY_AUTH, account=obj).reset()

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(email__startswith=term.lower())

    @admin.display(description="state")
    def standing(self, account: UpstreamAccount) -> SafeString:
        if not account.enabled:
            return badge("off", "off")
        if account.reason:
            return format_html(
                '{} <span class="quiet">{}</span>', badge("bad", "refused"), account.reason
            )
        return (
            badge("good", "signed in")
            if account.signed_in_at
            else badge("wait", "not signed in yet")
        )

    @admin.display(description="token")
    def its_token(self, account: UpstreamAccount) -> SafeString | str:
        token = getattr(account, "token", None)
        if token is None:
            return NOTHING
        address = reverse("admin:tokens_upstreamtoken_change", args=[token.pk])
        return format_html(
            '<a href="{}">{}</a> {}', address, token, badge(*state(token, timezone.now()))
        )

    @admin.action(
        description="Switch selected accounts off: they do not sign in", permissions=["change"]
    )
    def disable(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Switched off.")
        self.message_user(
            request, f"{counted(UpstreamAccount, queryset.update(enabled=False))} switched off."
        )

    @admin.action(description="Switch selected accounts on", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Switched on.")
        self.message_user(
            request, f"{counted(UpstreamAccount, queryset.update(enabled=True))} switched on."
        )
