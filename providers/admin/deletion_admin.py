"""Delete rows in the admin without blocking anybody, and show the progress of each deletion."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from providers.admin.big_tables import (
    BigTableAdmin,
    DeletionSummary,
    RowsToDelete,
    make_time_column,
    record_in_history,
    render_badge,
    summarize_deletion,
)
from providers.deletions import deletion_jobs
from providers.models import Deletion

DELETION_LIST_URL = "admin:providers_deletion_changelist"


class SlicedDeletion:
    """A mixin for the admin of a model that many rows depend on.

    Deleted rows are marked, hidden and removed in slices. Mix it in before ModelAdmin. A small
    deletion is finished when the page comes; a large one continues in the background.
    """

    admin_site: admin.AdminSite
    opts: Any

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Return the rows without those that are being deleted."""
        rows: QuerySet[Model] = super().get_queryset(request)  # type: ignore[misc]
        running = Deletion.objects.filter_unfinished().filter(model=self.opts.label_lower)
        ids = list(running.exclude(object_id="").values_list("object_id", flat=True))
        if ids:
            rows = rows.exclude(pk__in=ids)
        return rows

    def get_deleted_objects(self, objs: RowsToDelete, request: HttpRequest) -> DeletionSummary:
        return summarize_deletion(self.admin_site, objs, request)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        return record_in_history(request, queryset, "", DELETION)

    @method_decorator(csrf_protect)
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """Run Django's view without its transaction: each slice has a transaction of its own."""
        show_page: Callable[..., HttpResponse] = self._delete_view  # type: ignore[attr-defined]
        return show_page(request, object_id, extra_context)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        self.delete_or_leave_rest(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        self.delete_or_leave_rest(request, queryset)

    def delete_or_leave_rest(self, request: HttpRequest, rows: RowsToDelete) -> None:
        """Delete the rows for up to DELETION_WAIT_SECONDS; leave the rest to the worker.

        Writes the deletions, and tells the user when rows are left.
        """
        deletions = deletion_jobs.create_deletions(rows, request.user.get_username())
        deletion_jobs.continue_deletions(deletions, settings.DELETION_WAIT_SECONDS)
        ids = [deletion.pk for deletion in deletions]
        if Deletion.objects.filter_unfinished().filter(pk__in=ids).exists():
            deletion_jobs.send_deletion_task()
            text = format_html(
                '{} <a href="{}">{}</a>',
                _(
                    "This takes longer: the rows are out of use already, and are removed in the "
                    "background."
                ),
                reverse(DELETION_LIST_URL),
                _("See how far"),
            )
            messages.warning(request, text)


@admin.register(Deletion)
class DeletionAdmin(BigTableAdmin):
    list_display = (
        "name",
        "model_kind",
        "state_badge",
        "removed",
        "requested_by",
        "requested",
        "finished",
    )
    sortable_by = ()
    search_fields = ("object_id",)
    search_help_text = _("A whole id, or the beginning of a name.")
    actions = None
    fields = (
        "name",
        "model_kind",
        "object_id",
        "state_badge",
        "removed",
        "requested_by",
        "requested",
        "finished",
    )
    requested = make_time_column("requested_at", _("requested"))
    finished = make_time_column("finished_at", _("finished"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[Model], term: str) -> QuerySet[Model]:
        return queryset.filter(object_id=term) | queryset.filter(name__startswith=term)

    @admin.display(description=_("kind"))
    def model_kind(self, deletion: Deletion) -> str:
        return deletion_jobs.name_deleted_kind(deletion)

    @admin.display(description=_("state"))
    def state_badge(self, deletion: Deletion) -> SafeString:
        if deletion.finished_at is not None:
            return render_badge("good", _("done"))
        if deletion.alive_until is not None:
            return render_badge("wait", _("running"))
        return render_badge("wait", _("waits for the worker"))
