"""The admin of API keys, which are shown once, and of usage records, which are read-only."""

from collections.abc import Iterable
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from api import keys, one_time_forms
from api.forms import ApiKeyForm
from api.models import ApiKey, Status, UsageRecord
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
from providers.models import Deletion
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS
from tokens.models import UpstreamToken

MOST_LISTED_MODELS = 2  # number of a key's models that the list names
REQUEST_PREFIXES = ("req_", "chatcmpl-", "cmpl-")


# --- API keys -------------------------------------------------------------------------------------
class KeyStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valid", "valid"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "valid":
                return queryset.valid()  # type: ignore[attr-defined, no-any-return]
            case "expired":
                return queryset.filter(expires_at__lte=timezone.now(), revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(SecretSearch, SlicedDeletion, BigTableAdmin):
    form = ApiKeyForm
    list_display = (
        "key_prefix",
        "name",
        "user",
        "model_names",
        "state_badge",
        "last_used",
        "created",
    )
    list_select_related = ("user",)
    list_filter = (KeyStateFilter,)
    sortable_by = ("created",)
    search_fields = ("prefix",)
    search_help_text = (
        "A whole key or its beginning, or a whole user name. What you type stays out of addresses."
    )
    actions = ("revoke",)
    autocomplete_fields = ("user",)
    readonly_fields = ("key_prefix", "state_badge", "last_used", "created", "revoked")
    last_used = make_time_column("last_used_at", "last used")
    created = make_time_column("created_at", "created")
    revoked = make_time_column("revoked_at", "revoked")
    rights_fieldset = (
        "What it may do",
        {"fields": ("allowed_models", "stores_content", "expires_at")},
    )

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            described = {
                "fields": ("user", "name", "form_number"),
                "description": "The key is made when you save, and shown once.",
            }
            return ((None, described), self.rights_fieldset)
        who = (None, {"fields": ("key_prefix", "state_badge", "user", "name")})
        return (
            who,
            self.rights_fieldset,
            ("What happened", {"fields": ("last_used", "created", "revoked")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.readonly_fields if obj is None else ("user", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the key may be deleted, as long as its form or row identifies it.

        With PASSTHROUGH_PROVIDER, a key without our prefix is known by its row only. Once deleted,
        it would be taken for an upstream token of the caller.
        """
        unknown_then = (
            obj is not None
            and settings.PASSTHROUGH_PROVIDER
            and not obj.prefix.startswith(keys.KEY_PREFIX)
        )
        return not unknown_then and super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only superusers other members of staff as the user of a key.

        A key gives access to everything that its user may do.
        """
        user = cast(User, request.user)
        if db_field.name == "user" and not user.is_superuser:
            kwargs["queryset"] = User.objects.filter(Q(is_staff=False) | Q(pk=user.pk))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the actions without bulk deletion.

        Keys are revoked instead, so that their usage records still refer to them. A single key can
        be deleted on its page.
        """
        return {
            name: action
            for name, action in super().get_actions(request).items()
            if name != "delete_selected"
        }

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        try:
            return super().add_view(request, form_url, {**(extra_context or {}), **only_save})
        except (
            one_time_forms.FormAlreadyUsed
        ):  # two clicks at the same moment: the key of the other one was not shown
            text = (
                "This form was sent twice. If you have not seen its key, revoke the newest one "
                "and issue another."
            )
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:api_apikey_changelist"))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, which can tell if it was sent before."""
        made = super().get_form(request, obj, change, **kwargs)
        made.is_used = staticmethod(partial(one_time_forms.is_used, request))  # type: ignore[attr-defined]
        return made

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row; a new row also gets its key.

        Of an existing row only changed fields are written, so that no revocation is undone.
        """
        if not change:
            one_time_forms.mark_used(request, form.cleaned_data.get("form_number", ""))
            obj.issued = keys.generate_key()
            obj.prefix, obj.digest = obj.issued[: keys.SHOWN_LENGTH], keys.digest_key(obj.issued)
        obj.save(update_fields=form.changed_data if change else None)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return the only page that shows the key.

        It is the answer to the form itself; no message, session or cache keeps it.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "The new API key",
            "opts": self.opts,
            "row": obj,
            "key": obj.issued,
            "base_url": request.build_absolute_uri("/v1"),
        }
        page = TemplateResponse(request, "admin/api/apikey/issued.html", context)
        page.headers["Cache-Control"] = "no-store"
        return page

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(
            Q(prefix__startswith=self.get_public_term(term.rstrip("…"))) | Q(user__username=term)
        )

    def get_public_term(self, term: str) -> str:
        return term[: keys.SHOWN_LENGTH] if term.startswith(keys.KEY_PREFIX) else term

    def find_by_secret(self, queryset: QuerySet[Any], secret: str) -> QuerySet[Any]:
        return queryset.filter(digest=keys.digest_key(secret))

    def get_public_name(self, row: ApiKey) -> str:
        return row.prefix

    @admin.display(description="key")
    def key_prefix(self, row: ApiKey) -> str:
        return str(row)

    @admin.display(description="models")
    def model_names(self, row: ApiKey) -> str:
        if len(row.allowed_models) > MOST_LISTED_MODELS:
            return f"{len(row.allowed_models)} models"
        return ", ".join(row.allowed_models) or "all"

    @admin.display(description="state")
    def state_badge(self, row: ApiKey) -> SafeString:
        if row.revoked_at is not None:
            return render_badge("bad", "revoked")
        if row.is_expired:
            return render_badge("off", "expired")
        return (
            render_badge("good", "valid")
            if row.user.is_active
            else render_badge("off", "user inactive")
        )

    @admin.action(description="Revoke selected API keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        record_in_history(request, queryset, "Revoked.")
        count = queryset.revoke()
        self.message_user(request, f"{render_count(ApiKey, count)} revoked.", messages.SUCCESS)


# --- usage ----------------------------------------------------------------------------------------
class EndpointFilter(admin.SimpleListFilter):
    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in (CHAT, COMPLETIONS, EMBEDDINGS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(endpoint=self.value()) if self.value() else queryset


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("troubled", "all but complete"),
            *((value, str(label)) for value, label in Status.choices),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by status; rare ones are found among the unsuccessful, which have an index."""
        wanted = self.value()
        if wanted is None or wanted == Status.COMPLETE:
            return queryset.filter(status=wanted) if wanted else queryset
        troubled = queryset.filter(~Q(status="complete"))
        return troubled if wanted == "troubled" else troubled.filter(status=wanted)


REFERENCE_MODELS = {"user": "auth.user", "provider": "providers.provider", "key": "api.apikey"}


def deleted_name_subquery(model_label: str, field_name: str) -> Subquery:
    """Return a subquery for the name of the deleted row to which `field_name` refers."""
    mine = Deletion.objects.filter(
        model=model_label, object_id=Cast(OuterRef(f"{field_name}_id"), CharField())
    )
    return Subquery(mine.values("name")[:1])


def describe_reference(record: Any, field_name: str) -> str:
    """Return the row that a record's field refers to; a deleted row by its last name or its id."""
    pk = getattr(record, f"{field_name}_id")
    if pk is None:
        return NO_VALUE
    try:
        row = getattr(record, field_name)
    except ObjectDoesNotExist:
        row = None
    return (
        str(row) if row is not None else f"{getattr(record, f'{field_name}_gone') or pk} (deleted)"
    )


STATUS_COLOURS = {Status.COMPLETE: "good", Status.ABANDONED: "off", Status.INTERRUPTED: "wait"}


def format_milliseconds(duration_ms: float | None) -> str:
    return NO_VALUE if duration_ms is None else f"{duration_ms:,.1f}"


@admin.register(UsageRecord)
class UsageRecordAdmin(BigTableAdmin):
    list_display = (
        "started",
        "caller_name",
        "model",
        "provider_name",
        "status_badge",
        "token_counts",
        "duration_text",
    )
    list_select_related = ("user", "provider")
    list_filter = (StatusFilter, "stream", EndpointFilter)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = "A whole request id: req_… or chatcmpl-…"
    actions = None
    fieldsets = (
        (
            None,
            {"fields": ("request_id", "started", "request_summary", "caller_name", "key_prefix")},
        ),
        (
            "How it went",
            {
                "fields": (
                    "status_badge",
                    "http_status_text",
                    "provider_name",
                    "token_link",
                    "attempts_table",
                    "phase_milliseconds",
                )
            },
        ),
        (
            "Tokens",
            {
                "fields": (
                    "prompt_tokens",
                    "completion_tokens",
                    "reasoning_tokens",
                    "cached_tokens",
                    "count_source",
                )
            },
        ),
    )
    started = make_time_column("started_at", "started")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add the names of deleted users and providers.

        They are read only for the rows of a page.
        """
        gone = {
            f"{name}_gone": deleted_name_subquery(label, name)
            for name, label in REFERENCE_MODELS.items()
        }
        rows: QuerySet[Any] = super().get_queryset(request).annotate(**gone)
        return rows

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        for prefix in REQUEST_PREFIXES:
            term = term.removeprefix(prefix)
        try:
            return queryset.filter(pk=UUID(term))
        except ValueError:
            return queryset.none()

    @admin.display(description="request")
    def request_id(self, record: UsageRecord) -> str:
        return str(record)

    @admin.display(description="user")
    def caller_name(self, record: Any) -> str:
        return describe_reference(record, "user")

    @admin.display(description="provider")
    def provider_name(self, record: Any) -> str:
        return describe_reference(record, "provider")

    @admin.display(description="key")
    def key_prefix(self, record: Any) -> str:
        return describe_reference(record, "key")

    @admin.display(description="token")
    def token_link(self, record: Any) -> SafeString | str:
        try:
            token = record.token
        except UpstreamToken.DoesNotExist:
            return f"{record.token_id} (deleted)"
        if token is None:
            return NO_VALUE
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:tokens_upstreamtoken_change", args=[token.pk]),
            token,
        )

    @admin.display(description="asked")
    def request_summary(self, record: UsageRecord) -> str:
        return (
            f"{record.endpoint}, model {record.model}, "
            f"{'streamed' if record.stream else 'not streamed'}"
        )

    @admin.display(description="HTTP status")
    def http_status_text(self, record: UsageRecord) -> int | str:
        return record.http_status or NO_VALUE

    @admin.display(description="counted by")
    def count_source(self, record: UsageRecord) -> str:
        return "this gateway (estimated)" if record.estimated else "the upstream"

    @admin.display(description="status")
    def status_badge(self, record: UsageRecord) -> SafeString:
        shown = render_badge(STATUS_COLOURS.get(Status(record.status), "bad"), record.status)
        code = record.error_code if record.error_code != record.status else ""
        return format_html('{} <span class="quiet">{}</span>', shown, code) if code else shown

    @admin.display(description="tokens in / out")
    def token_counts(self, record: UsageRecord) -> str:
        return (
            f"{'~' if record.estimated else ''}{record.prompt_tokens} / {record.completion_tokens}"
        )

    @admin.display(description="time")
    def duration_text(self, record: UsageRecord) -> str:
        return "" if record.total_ms is None else f"{record.total_ms / 1000:.2f} s"

    @admin.display(description="milliseconds")
    def phase_milliseconds(self, record: UsageRecord) -> str:
        spans = (record.queue_ms, record.connect_ms, record.first_byte_ms, record.total_ms)
        names = ("in the queue", "to connect", "to the first byte", "in all")
        shown = (
            f"{format_milliseconds(span)} {name}"
            for span, name in zip(spans, names, strict=True)
            if span is not None
        )
        return ", ".join(shown) or NO_VALUE

    @admin.display(description="attempts")
    def attempts_table(self, record: UsageRecord) -> SafeString | str:
        """Return a table of every upstream call of the request, in order."""
        masks = load_token_masks(record.attempts)
        rows = [
            (number, *attempt_cells(attempt, masks))
            for number, attempt in enumerate(record.attempts, 1)
        ]
        head = render_table_row("th", ATTEMPT_COLUMNS)
        body = format_html_join("", "{}", ((render_table_row("td", cells),) for cells in rows))
        return format_html('<table class="attempts">{}{}</table>', head, body) if rows else "none"


ATTEMPT_COLUMNS = (
    "",
    "provider",
    "model",
    "token",
    "HTTP",
    "connect ms",
    "first byte ms",
    "total ms",
    "outcome",
)
OUTCOME_COLOURS = {"answered": "good", "skipped": "off", "abandoned": "off"}


def render_table_row(tag: str, cells: Iterable[object]) -> SafeString:
    """Return one line of a table; `tag` is th or td."""
    return format_html(
        "<tr>{}</tr>", format_html_join("", "<{0}>{1}</{0}>", ((tag, cell) for cell in cells))
    )


def load_token_masks(attempts: list[dict[str, Any]]) -> dict[str, str]:
    """Return the masked form of each token that the attempts name and that still exists, by id."""
    ids = {attempt["token"] for attempt in attempts if attempt.get("token")}
    return {
        str(pk): masked
        for pk, masked in UpstreamToken.objects.filter(pk__in=ids).values_list("pk", "masked")
    }


def attempt_cells(attempt: dict[str, Any], masks: dict[str, str]) -> list[object]:
    """Return one attempt of the ledger (`Attempt.as_dict`) as table cells.

    The cells are in the order of COLUMNS.
    """
    token: object = attempt.get("token") or ""
    if token in masks:
        address = reverse("admin:tokens_upstreamtoken_change", args=[token])
        token = format_html('<a href="{}">{}</a>', address, masks[str(token)])
    outcome = str(attempt.get("outcome"))
    return [
        attempt.get("provider") or "",
        attempt.get("model") or "",
        token,
        attempt.get("status") or "",
        *(
            format_milliseconds(attempt.get(name))
            for name in ("connect_ms", "first_byte_ms", "total_ms")
        ),
        format_html(
            "{} {}",
            render_badge(OUTCOME_COLOURS.get(outcome, "bad"), outcome),
            attempt.get("reason") or "",
        ),
    ]
