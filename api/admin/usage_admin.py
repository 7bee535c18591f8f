"""The admin of usage records, which are read-only."""

from typing import cast
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from api.admin.attempts_table import format_milliseconds, render_attempts_table, render_token_link
from api.admin.price_links import render_price_link
from api.models import Price, Status, UsageRecord
from api.pricing.price_texts import render_micro_usd
from providers.admin.big_tables import NO_VALUE, BigTableAdmin, make_time_column, render_badge
from providers.models import Deletion
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS
from tokens.models import UpstreamToken

REQUEST_PREFIXES = ("req_", "chatcmpl-", "cmpl-")
STATUS_COLOURS = {
    Status.COMPLETE: "good",
    Status.ABANDONED: "off",
    Status.INTERRUPTED: "wait",
    Status.REFUSED: "off",
}
REFERENCE_MODELS = {"user": "auth.user", "provider": "providers.provider", "key": "api.apikey"}


class EndpointFilter(admin.SimpleListFilter):
    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(name, name) for name in (CHAT, COMPLETIONS, EMBEDDINGS)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> QuerySet[UsageRecord]:
        endpoint = self.value()
        if not endpoint:
            return queryset
        return queryset.filter(endpoint=endpoint)


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        statuses = [(value, str(label)) for value, label in Status.choices]
        return [("troubled", "all but complete"), *statuses]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> QuerySet[UsageRecord]:
        """Filter by status; rare ones are found among the unsuccessful, which have an index."""
        status = self.value()
        if status is None:
            return queryset
        if status == Status.COMPLETE:
            return queryset.filter(status=status)
        unsuccessful = queryset.filter(~Q(status="complete"))
        if status == "troubled":
            return unsuccessful
        return unsuccessful.filter(status=status)


@admin.register(UsageRecord)
class UsageRecordAdmin(BigTableAdmin):
    list_display = (
        "started",
        "caller_name",
        "model",
        "provider_name",
        "status_badge",
        "token_counts",
        "cost_text",
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
                    "cache_write_tokens",
                    "count_source",
                )
            },
        ),
        ("Cost", {"fields": ("cost_text", "price_link", "reported_cost_text")}),
    )
    started = make_time_column("started_at", "started")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageRecord]:
        """Add the names of deleted users and providers.

        They are read only for the rows of a page.
        """
        rows: QuerySet[UsageRecord] = super().get_queryset(request)
        return annotate_deleted_names(rows)

    def find_rows(self, queryset: QuerySet[UsageRecord], term: str) -> QuerySet[UsageRecord]:
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
    def caller_name(self, record: UsageRecord) -> str:
        return describe_reference(record, "user")

    @admin.display(description="provider")
    def provider_name(self, record: UsageRecord) -> str:
        return describe_reference(record, "provider")

    @admin.display(description="key")
    def key_prefix(self, record: UsageRecord) -> str:
        return describe_reference(record, "key")

    @admin.display(description="token")
    def token_link(self, record: UsageRecord) -> SafeString | str:
        try:
            token = record.token
        except UpstreamToken.DoesNotExist:
            return f"{record.token_id} (deleted)"
        if token is None:
            return NO_VALUE
        return render_token_link(token.pk, token)

    @admin.display(description="endpoint and model")
    def request_summary(self, record: UsageRecord) -> str:
        streamed = "streamed" if record.stream else "not streamed"
        return f"{record.endpoint}, model {record.model}, {streamed}"

    @admin.display(description="HTTP status")
    def http_status_text(self, record: UsageRecord) -> int | str:
        return record.http_status or NO_VALUE

    @admin.display(description="counted by")
    def count_source(self, record: UsageRecord) -> str:
        return "this gateway (estimated)" if record.estimated else "the upstream"

    @admin.display(description="status")
    def status_badge(self, record: UsageRecord) -> SafeString:
        badge = render_badge(STATUS_COLOURS.get(Status(record.status), "bad"), record.status)
        if record.status == Status.REFUSED:
            return format_html(
                '{} <span class="quiet">× {} by {}</span>',
                badge,
                record.request_count,
                record.refused_by or "a limit",
            )
        if record.error_code in ("", record.status):
            return badge
        return format_html('{} <span class="quiet">{}</span>', badge, record.error_code)

    @admin.display(description="tokens in / out")
    def token_counts(self, record: UsageRecord) -> str:
        counts = f"{record.prompt_tokens} / {record.completion_tokens}"
        return f"~{counts}" if record.estimated else counts

    @admin.display(description="cost")
    def cost_text(self, record: UsageRecord) -> SafeString | str:
        if record.status == Status.REFUSED:
            return NO_VALUE
        if record.cost_micro_usd is None:
            return format_html('<span class="quiet">{}</span>', render_micro_usd(None))
        return render_micro_usd(record.cost_micro_usd)

    @admin.display(description="price")
    def price_link(self, record: UsageRecord) -> SafeString | str:
        if record.price_id is None:
            return NO_VALUE
        try:
            return render_price_link(cast(Price, record.price))
        except Price.DoesNotExist:
            return f"{record.price_id} (deleted)"

    @admin.display(description="cost as reported by the provider")
    def reported_cost_text(self, record: UsageRecord) -> str:
        if record.reported_cost_micro_usd is None:
            return NO_VALUE
        return render_micro_usd(record.reported_cost_micro_usd)

    @admin.display(description="time")
    def duration_text(self, record: UsageRecord) -> str:
        if record.total_ms is None:
            return ""
        return f"{record.total_ms / 1000:.2f} s"

    @admin.display(description="milliseconds")
    def phase_milliseconds(self, record: UsageRecord) -> str:
        phases = {
            "in the queue": record.queue_ms,
            "to connect": record.connect_ms,
            "to the first byte": record.first_byte_ms,
            "in all": record.total_ms,
        }
        texts = [
            f"{format_milliseconds(duration_ms)} {name}"
            for name, duration_ms in phases.items()
            if duration_ms is not None
        ]
        return ", ".join(texts) or NO_VALUE

    @admin.display(description="attempts")
    def attempts_table(self, record: UsageRecord) -> SafeString | str:
        return render_attempts_table(record.attempts)


def annotate_deleted_names(rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
    """Add the names of deleted users, providers and keys: `user_gone` and so on."""
    return rows.annotate(
        **{
            f"{field_name}_gone": build_deleted_name_subquery(model_label, field_name)
            for field_name, model_label in REFERENCE_MODELS.items()
        }
    )


def build_deleted_name_subquery(model_label: str, field_name: str) -> Subquery:
    """Return a subquery for the name of the deleted row to which `field_name` refers."""
    deletions = Deletion.objects.filter(
        model=model_label, object_id=Cast(OuterRef(f"{field_name}_id"), CharField())
    )
    return Subquery(deletions.values("name")[:1])


def describe_reference(record: UsageRecord, field_name: str) -> str:
    """Return the row that a record's field refers to; a deleted row by its last name or its id."""
    pk = getattr(record, f"{field_name}_id")
    if pk is None:
        return NO_VALUE
    try:
        row = getattr(record, field_name)
    except ObjectDoesNotExist:
        row = None
    if row is not None:  # a joined row that does not exist is None
        return str(row)
    name = getattr(record, f"{field_name}_gone") or pk
    return f"{name} (deleted)"
