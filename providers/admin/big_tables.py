"""The shared parts of all apps' admins: big tables, badges, notes in a row's history.

Big tables are those with too many rows to count.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import CASCADE, Model, QuerySet
from django.db.models.expressions import OrderBy
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from providers.admin.history_signal import rows_recorded
from providers.integers import parse_integer

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

PAGES_AHEAD = 4  # how many pages a list looks beyond the one it shows
# later rows are found by a search or a filter, because skipping so many rows takes seconds
LAST_PAGE = 1_000
MOST_PAGE_NUMBER = 9_999_999  # an address with a higher page number shows the first page
NO_VALUE = "-"  # shown where there is no value, as in Django's admin
MOST_NAMED = 20  # rows that the page before a deletion names; the others are counted
MOST_COUNTED = 10_000  # rows deleted along with others; beyond it the page says “more than”
REFERENCE_DEPTH = 3  # references that are followed to count them
MOST_AUDITED = 1_000  # rows of one action that each get a note in their history
SEARCH_LENGTH = 200
NAME_LENGTH = 200  # of a row in the history
RowsToDelete = QuerySet[Model] | Sequence[Model]
# names, counts, models that the user may not delete, protected rows
DeletionSummary = tuple[list[str], dict[str, Any], set[str], list[str]]


# --- shared by all admins -------------------------------------------------------------------------
def render_badge(colour: str, text: object) -> SafeString:
    """Return a short state as a coloured badge; `colour` is good, wait, bad or off."""
    return format_html('<span class="badge badge-{}">{}</span>', colour, text)


def make_time_column(name: str, label: "StrOrPromise") -> Callable[[Any, Model], str]:
    """Return a column or read-only field for the time in the field `name`, to the second."""

    @admin.display(description=label, ordering=name)
    def render_time(self: object, row: Model) -> str:
        time = getattr(row, name)
        if time is None:
            return NO_VALUE
        return date_format(timezone.localtime(time), "Y-m-d H:i:s")

    return render_time


def render_count(model: type[Model], count: int) -> str:
    """Return a number of rows in words: `1 upstream token`, `2 upstream tokens`."""
    return f"{count} {model_ngettext(model._meta, count)}"


def render_more_than(model: type[Model], count: int) -> str:
    """Return for example `more than 1000 upstream tokens`."""
    return _("more than %(count)s") % {"count": render_count(model, count)}


def record_in_history(
    request: HttpRequest,
    rows: QuerySet[Model],
    change_message: str,
    flag: int = CHANGE,
    get_name: Callable[[Any], str] = str,
) -> None:
    """Write a note into the history of rows that are about to be changed or deleted.

    Call it before the deed, because the rows may not match their filter afterwards. With more than
    MOST_AUDITED rows a single note is written for all. `get_name` returns a row's name in the
    history: an id where the row's own text is private.
    """
    first_rows = list(rows[: MOST_AUDITED + 1])
    if not first_rows:
        return
    model = type(first_rows[0])
    notes = [(row.pk, get_name(row)[:NAME_LENGTH]) for row in first_rows]
    if len(first_rows) > MOST_AUDITED:
        notes = [(None, render_more_than(model, MOST_AUDITED))]
    entry = {
        "user_id": request.user.pk,
        "content_type": ContentType.objects.get_for_model(model),
        "action_flag": flag,
        "change_message": change_message,
    }
    rows_recorded.send(
        model,
        request=request,
        rows=first_rows[:MOST_AUDITED] if len(notes) == len(first_rows) else [],
        names=[name for _, name in notes],
        change_message=change_message,
        flag=flag,
    )
    LogEntry.objects.bulk_create(
        LogEntry(object_id=pk, object_repr=name, **entry) for pk, name in notes
    )


class AheadPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator for a table that is never counted.

    `count` is how far it has looked ahead; `has_more` is True when there are further rows.
    """

    number = 1
    has_more = False

    @cached_property
    def count(self) -> int:
        page_start = (self.number - 1) * self.per_page
        return self._find_last_position(page_start) or self._find_last_position(0)

    def _find_last_position(self, start: int) -> int:
        """Return the position of the last row that is visible from `start`; 0 when none is."""
        reach = self.per_page * (1 + PAGES_AHEAD)
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]
        count = len(rows.values_list("pk")[start : start + reach + 1])
        self.has_more = count > reach
        if count == 0:
            return 0
        return start + min(count, reach)


class BigTableList(ChangeList):
    """A list that sorts only by the columns offered for it, whatever the address asks.

    Other columns have no index.
    """

    def get_ordering_field(self, field_name: Any) -> Any:
        if field_name not in (self.sortable_by or ()):
            return None
        return super().get_ordering_field(field_name)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Return the order, with rows that are alike in the same direction as the others.

        So that one index has the whole order.
        """
        ordering = list(super().get_ordering(request, queryset))
        if len(ordering) == 2 and ordering[1] == "-pk" and not is_descending(ordering[0]):
            ordering[1] = "pk"
        return ordering


def is_descending(order: Any) -> bool:
    """Return whether a part of an order, a name or an expression, is descending."""
    if isinstance(order, OrderBy):
        return order.descending
    return str(order).startswith("-")


class BigTableAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The admin of a table with a million rows.

    Nothing is counted, searches are exact or by prefix, and the page before a deletion names few
    rows.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def get_paginator(
        self,
        request: HttpRequest,
        queryset: QuerySet[Model],
        per_page: int,
        *args: Any,
        **kwargs: Any,
    ) -> AheadPaginator:
        paginator = AheadPaginator(queryset, per_page, *args, **kwargs)
        number = parse_integer(request.GET.get(PAGE_VAR, ""), 1, MOST_PAGE_NUMBER) or 1
        paginator.number = min(number, LAST_PAGE)
        return paginator

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return BigTableList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        term = search_term.strip()[:SEARCH_LENGTH]
        if term:
            queryset = self.find_rows(queryset, term)
        return queryset, False

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows that the search term finds."""
        raise NotImplementedError

    def get_deleted_objects(self, objs: RowsToDelete, request: HttpRequest) -> DeletionSummary:
        return summarize_deletion(self.admin_site, objs, request)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        return record_in_history(request, queryset, "", DELETION, self.get_history_name)

    def get_history_name(self, row: Any) -> str:
        """Return the name of a row in the history, which outlives the row."""
        return str(row)


def count_bounded(rows: QuerySet[Model]) -> int:
    """Count rows, up to MOST_COUNTED + 1."""
    return rows.order_by().values("pk")[: MOST_COUNTED + 1].count()


def render_model_count(model: type[Model], count: int) -> str:
    """Return a count in words: `2 upstream tokens`, or `more than 10000 upstream tokens`."""
    if count > MOST_COUNTED:
        return render_more_than(model, MOST_COUNTED)
    return render_count(model, count)


def find_dependent_models(
    model: type[Model], path: str = "", depth: int = REFERENCE_DEPTH
) -> dict[type[Model], str]:
    """Return the models whose rows are deleted along with rows of `model`.

    Each has the first lookup that leads from it back to `model`. `depth` is the number of
    references that are followed.
    """
    lookups: dict[type[Model], str] = {}
    for relation in model._meta.related_objects:
        if relation.on_delete is CASCADE:
            lookup = "__".join(filter(None, (relation.field.name, path)))
            lookups.setdefault(relation.related_model, lookup)
    if depth == 1:
        return lookups
    for dependent, lookup in list(lookups.items()):
        lookups = find_dependent_models(dependent, lookup, depth - 1) | lookups
    return lookups


def summarize_deletion(
    site: admin.AdminSite, objs: RowsToDelete, request: HttpRequest
) -> DeletionSummary:
    """Return a summary of a deletion for the page that asks for confirmation.

    It has the names of a few rows, counts of the others and of dependent rows, and the models that
    the user may not delete. No count goes far beyond MOST_COUNTED, however many rows there are.
    """
    opts = objs[0]._meta
    total = count_objects(objs)
    names = [str(row) for row in objs[:MOST_NAMED]]
    if total > MOST_COUNTED:
        names.append(_("… and many more"))
    elif total > MOST_NAMED:
        names.append(_("… and %(count)s more") % {"count": total - MOST_NAMED})
    counts = {str(opts.verbose_name_plural): render_bounded_count(total)}
    forbidden = set()
    for dependent, lookup in find_dependent_models(opts.model).items():
        count = count_bounded(dependent._base_manager.filter(**{f"{lookup}__in": objs}))
        if count == 0:
            continue
        names.append(render_model_count(dependent, count))
        counts[str(dependent._meta.verbose_name_plural)] = render_bounded_count(count)
        if not may_delete(site, dependent, request):
            forbidden.add(str(dependent._meta.verbose_name))
    return names, counts, forbidden, []


def count_objects(objs: RowsToDelete) -> int:
    """Count rows, up to MOST_COUNTED + 1 where they are not read yet."""
    if isinstance(objs, QuerySet):
        return count_bounded(objs)
    return len(objs)


def may_delete(site: admin.AdminSite, model: type[Model], request: HttpRequest) -> bool:
    """Return whether the user may delete rows of a model; anybody may where it has no admin."""
    model_admin = site._registry.get(model)
    return model_admin is None or model_admin.has_delete_permission(request)


def render_bounded_count(count: int) -> int | str:
    """Return a count for a page; beyond MOST_COUNTED it is not exact."""
    if count > MOST_COUNTED:
        return _("more than %(count)s") % {"count": MOST_COUNTED}
    return count
