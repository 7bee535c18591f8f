"""Delete rows in the admin without blocking anybody, and show the progress of each deletion."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect

from providers.admin.big_tables import BigTableAdmin, Summary, audit, badge, moment, summarised
from providers.deletions import deletion_jobs
from providers.models import Deletion

CHANGE_DELETION = "admin:providers_deletion_changelist"


class SlicedDeletion:
    """A mixin for the admin of a model that many rows depend on.

    Deleted rows are marked, hidden and removed in slices. Mix it in before ModelAdmin. A small
    deletion is finished when the page comes; a large one continues in the background.
    """

    admin_site: Any
    model: Any
    opts: Any

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows without those that are being deleted."""
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        going = Deletion.objects.running().filter(model=self.opts.label_lower).exclude(object_id="")
        ids = list(going.values_list("object_id", flat=True))
        return rows.exclude(pk__in=ids) if ids else rows

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Summary:
        return summarised(self.admin_site, objs, request)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return audit(request, queryset, "", DELETION)

    @method_decorator(csrf_protect)
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Run Django's view without its transaction: each slice has a transaction of its own."""
        page: HttpResponse = self._delete_view(request, object_id, extra_context)  # type: ignore[attr-defined]
        return page

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.give_up(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.give_up(request, queryset)

    def give_up(self, request: HttpRequest, rows: Any) -> None:
        """Delete the rows for up to DELETION_WAIT_SECONDS; leave the rest to the worker.

        Writes the deletions, and tells the user when rows are left.
        """
        begun = deletion_jobs.begin(rows, request.user.get_username())
        deletion_jobs.carry_on_all_of(begun, settings.DELETION_WAIT_SECONDS)
        left = Deletion.objects.running().filter(pk__in=[one.pk for one in begun]).count()
        if left:
            deletion_jobs.order()
            text = format_html(
                "It takes longer: out of use already, and removed in the background. <a "
                'href="{}">See how far</a>',
                reverse(CHANGE_DELETION),
            )
            messages.warning(request, text)


@admin.register(Deletion)
class DeletionAdmin(BigTableAdmin):
    list_display = ("name", "what", "standing", "removed", "requested_by", "requested", "finished")
    sortable_by = ()
    search_fields = ("object_id",)
    search_help_text = "A whole id, or the beginning of a name."
    actions = None
    fields = (
        "name",
        "what",
        "object_id",
        "standing",
        "removed",
        "requested_by",
        "requested",
        "finished",
    )
    requested = moment("requested_at", "requested")
    finished = moment("finished_at", "finished")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(object_id=term) | queryset.filter(name__startswith=term)

    @admin.display(description="kind")
    def what(self, deletion: Deletion) -> str:
        return deletion_jobs.kind_of(deletion)

    @admin.display(description="state")
    def standing(self, deletion: Deletion) -> SafeString:
        if deletion.finished_at is not None:
            return badge("good", "done")
        return badge("wait", "running" if deletion.alive_until else "waits for the worker")
