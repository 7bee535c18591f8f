"""The admin of batches: read-only, but batches can be cancelled."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from api.admin.alert_admin import ReadOnlyAdmin
from api.batches import batch_states
from api.models import Batch, BatchQuerySet, BatchStatus
from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
    render_count,
)

STATUS_COLOURS = {
    BatchStatus.COMPLETED: "good",
    BatchStatus.FAILED: "bad",
    BatchStatus.EXPIRED: "bad",
    BatchStatus.CANCELLED: "off",
}
SHOWN_ERRORS = 20


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin, BigTableAdmin):
    """The list of batches, the page of one, and the action that cancels some."""

    list_display = ("id", "user", "status_badge", "lines_done", "failed", "endpoint", "created")
    list_filter = ("status", "endpoint")
    list_select_related = ("user",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = _("A whole batch id, batch_…, or a whole user name")
    actions = ("cancel",)
    fields = (
        "id",
        "user",
        "key",
        "status_badge",
        "endpoint",
        "model",
        "lines_done",
        "failed",
        "input_tokens",
        "output_tokens",
        "created",
        "ends_until",
        "running",
        "progress",
        "files",
        "problems",
    )
    readonly_fields = fields
    created = make_time_column("created_at", _("created"))
    ends_until = make_time_column("expires_at", _("expires"))
    running = make_time_column("running_until", _("lease of its process"))

    def find_rows(self, queryset: QuerySet[Batch], term: str) -> QuerySet[Batch]:
        by_id = queryset.filter(pk=term)
        return by_id if term.startswith("batch_") else queryset.filter(user__username=term)

    @admin.display(description=_("status"))
    def status_badge(self, batch: Batch) -> SafeString:
        status = BatchStatus(batch.status)
        return render_badge(STATUS_COLOURS.get(status, "wait"), status.label)

    @admin.display(description=_("lines answered"))
    def lines_done(self, batch: Batch) -> str:
        return f"{batch.completed_count:,} / {batch.total_count:,}"

    @admin.display(description=_("failed"))
    def failed(self, batch: Batch) -> str:
        return f"{batch.failed_count:,}" if batch.failed_count else NO_VALUE

    @admin.display(description=_("progress"))
    def progress(self, batch: Batch) -> SafeString | str:
        if batch.progress_id is None:
            return NO_VALUE
        address = reverse("task-progress", args=[batch.progress_id])
        return format_html('<a href="{}">{}</a>', address, _("task"))

    @admin.display(description=_("files"))
    def files(self, batch: Batch) -> str:
        ids = (batch.input_file_id, batch.output_file_id, batch.error_file_id)
        return ", ".join(filter(None, ids))

    @admin.display(description=_("errors"))
    def problems(self, batch: Batch) -> SafeString | str:
        rows = [
            (error.get("line") or NO_VALUE, error.get("code"), error.get("message"))
            for error in batch.errors[:SHOWN_ERRORS]
        ]
        return format_html_join("", "<div>{}: {}: {}</div>", rows) or NO_VALUE

    @admin.action(description=_("Cancel selected batches"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: BatchQuerySet) -> None:
        """Cancel batches: lines that have not begun are not asked."""
        open_rows = queryset.filter(status__in=batch_states.CANCELLABLE)
        record_in_history(request, open_rows, "Cancelled.")
        count = batch_states.mark_cancelling(open_rows)
        text = gettext("%(batches)s cancelled.") % {"batches": render_count(Batch, count)}
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text, level)
