"""The admin of upstream tokens: a secret goes in once and never comes out; state is seen, and changed by actions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from providers import vault
from providers.admin import BigTableAdmin, audit, badge, counted, moment
from tokens import importing
from tokens.models import State, UpstreamToken

WRITTEN_WITH_SECRET = ("sealed", "fingerprint", "masked", "state", "strikes", "rests_until", "reason")


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """`secret` is written only: it is never rendered, not even after a mistake in another field."""

    secret = forms.CharField(
        label="Token",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}),
        max_length=importing.LONGEST,
        help_text="Paste it here; it is sealed and never shown again. For many at once: <code>import_tokens</code>.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.fingerprint and "secret" in self.fields:
            self.fields["secret"].label = "New token"
            self.fields["secret"].required = False
            self.fields["secret"].help_text = "Takes the place of the present one, as a fresh token; empty: keep it."

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret and (wrong := importing.problem(secret)):
            raise ValidationError(f"This is no token: it {wrong}." if wrong.startswith("has") else f"It is {wrong}.")
        return secret

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        secret = cleaned.get("secret")
        provider = cleaned.get("provider") or getattr(self.instance, "provider", None)
        if secret and provider:
            same = UpstreamToken.objects.filter(provider=provider, fingerprint=vault.fingerprint(secret))
            if same.exclude(pk=self.instance.pk).exists():
                self.add_error("secret", f"{provider} has this token already: {vault.mask(secret)}.")
        return cleaned


def state(token: UpstreamToken, now: datetime) -> tuple[str, str]:
    """How a token stands now, as the colour and the words of its badge."""
    if token.state == State.DISABLED:
        return "bad", "disabled"
    if token.expires_at is not None and token.expires_at <= now:
        return "off", "expired"
    if token.rests_until is not None and token.rests_until > now:
        word = "exhausted" if token.state == State.EXHAUSTED else "resting"
        soon = token.rests_until - now < timedelta(days=1)
        return (
            "wait",
            f"{word} until {date_format(timezone.localtime(token.rests_until), 'H:i:s' if soon else 'j M Y')}",
        )
    return "good", "active"


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in ("usable", "resting", "exhausted", "disabled", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "usable":
                return queryset.usable()  # type: ignore[attr-defined, no-any-return]
            case "resting":
                return queryset.filter(state=State.ACTIVE, rests_until__gt=now)
            case "exhausted":
                return queryset.filter(state=State.EXHAUSTED, rests_until__gt=now)
            case "disabled":
                return queryset.filter(state=State.DISABLED)
            case "expired":
                return queryset.filter(expires_at__lte=now)
        return queryset


@admin.register(UpstreamToken)
class UpstreamTokenAdmin(BigTableAdmin):
    form = TokenForm
    list_display = ("token", "provider", "label", "standing", "requests", "failures", "last_used")
    list_select_related = ("provider",)
    list_filter = ("provider", StateFilter)
    sortable_by = ("requests", "failures", "last_used")
    search_fields = ("masked",)
    search_help_text = "The beginning of the masked form or of the label, or a token's id."
    actions = ("disable", "reset")
    readonly_fields = (
        *("id", "token", "standing", "strikes", "requests", "failures"),
        *("last_used", "last_failure", "created"),
    )
    last_used = moment("last_used_at", "last used")
    last_failure = moment("last_failure_at", "last failure")
    created = moment("created_at", "created")
    settings_fieldset = ("Use", {"fields": ("label", "expires_at", "priority", "weight")})

    def get_fieldsets(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("provider", "secret")}), self.settings_fieldset)
        secret = ("secret",) if self.has_change_permission(request, obj) else ()
        counters = ("requests", "failures", "strikes", "last_used", "last_failure", "created", "id")
        return (
            (None, {"fields": ("token", "provider", "standing", *secret)}),
            self.settings_fieldset,
            ("What happened", {"fields": counters}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: UpstreamToken | None = None) -> Any:
        """A token stays with its provider: another one must not see it."""
        return self.readonly_fields if obj is None else ("provider", *self.readonly_fields)

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UpstreamToken, form: Any, change: bool) -> None:
        """Write what was changed and no more: the gateway writes counters and state at the same time."""
        changed = set(form.changed_data) - {"secret"}
        if secret := form.cleaned_data.get("secret"):
            obj.hide(secret)
            obj.state, obj.strikes, obj.rests_until, obj.reason = State.ACTIVE, 0, None, ""
            changed.update(WRITTEN_WITH_SECRET)
        obj.save(update_fields=changed if change else None)

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        try:
            return queryset.filter(pk=UUID(term))
        except ValueError:
            return queryset.filter(Q(masked__startswith=term) | Q(label__startswith=term))

    @admin.display(description="token")
    def token(self, row: UpstreamToken) -> str:
        return row.masked

    @admin.display(description="state")
    def standing(self, token: UpstreamToken) -> SafeString:
        """The badge and, unless all is well, why."""
        colour, word = state(token, timezone.now())
        strikes = f"{token.strikes} strike{pluralize(token.strikes)}" if token.strikes else ""
        why = strikes if colour == "good" else token.reason
        return format_html('{} <span class="quiet">{}</span>', badge(colour, word), why)

    @admin.action(description="Disable selected tokens", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Disabled.")
        count = queryset.disable(f"by {request.user.get_username()}")
        self.message_user(request, f"{counted(UpstreamToken, count)} disabled.", messages.SUCCESS)

    @admin.action(description="Reset selected tokens: enable, no strikes, no rest", permissions=["change"])
    def reset(self, request: HttpRequest, queryset: Any) -> None:
        audit(request, queryset, "Reset.")
        count = queryset.reset()
        self.message_user(request, f"{counted(UpstreamToken, count)} reset.", messages.SUCCESS)
