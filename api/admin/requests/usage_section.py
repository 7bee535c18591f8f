"""The section “Usage” on the pages of API keys, users and teams: sums, and links to records."""

from collections.abc import Collection

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from api.limits.limit_errors import format_usd
from api.usage.subject_totals import SubjectTotals, read_subject_totals

SPAN_NAMES = {
    "today": gettext_lazy("today"),
    "last 7 days": gettext_lazy("last 7 days"),
    "last 30 days": gettext_lazy("last 30 days"),
}
VIEW_PERMISSION = "api.view_usagerecord"


def may_view_usage(request: HttpRequest) -> bool:
    """Return whether the person may see usage records."""
    return bool(request.user.has_perm(VIEW_PERMISSION))


def render_usage_section(field_name: str, row: Model) -> SafeString:
    """Return the sums of a key or user, and a link to its records.

    `field_name` is the reference of usage records.
    """
    table = render_totals(f"{field_name}_id", [row.pk])
    return format_html("{}<p>{}</p>", table, render_records_link(field_name, row))


def render_records_link(field_name: str, row: Model) -> SafeString:
    """Return a link to the usage records of a key or user."""
    address = reverse("admin:api_usagerecord_changelist")
    text = _("Requests of %(name)s") % {"name": row}
    return format_html('<a href="{}?{}__id__exact={}">{}</a>', address, field_name, row.pk, text)


def render_totals(column: str, ids: Collection[int]) -> SafeString:
    """Return a table of the requests, tokens and cost of the last days; they are days in UTC."""
    rows = format_html_join(
        "",
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                SPAN_NAMES.get(totals.span, totals.span),
                f"{totals.requests:,}",
                f"{totals.refused_requests:,}",
                f"{totals.tokens:,}",
                render_cost(totals),
            )
            for totals in read_subject_totals(column, ids)
        ),
    )
    heads = ("", _("requests"), _("refused"), _("tokens"), _("cost"))
    return format_html(
        '<div class="table-wrap" tabindex="0"><table class="table"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>",
        format_html_join("", "<th>{}</th>", ((head,) for head in heads)),
        rows,
    )


def render_cost(totals: SubjectTotals) -> str:
    """Return a cost in USD, and for how many requests it is unknown."""
    cost = f"{format_usd(totals.cost_micro_usd)} USD"
    if totals.unknown_cost_requests:
        count = totals.unknown_cost_requests
        text = ngettext("unknown for %(count)s request", "unknown for %(count)s requests", count)
        cost += f", {text % {'count': f'{count:,}'}}"
    return cost
