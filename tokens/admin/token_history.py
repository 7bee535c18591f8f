"""The history of a token on its page: each change with its reason and the request behind it."""

from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from providers.admin.page_times import render_time
from tokens.admin.token_columns import find_last_check, render_check
from tokens.models import Transition, UpstreamToken
from tokens.querysets import AUTH_REASON

MAX_LISTED_CHANGES = 50  # changes of a token's state that its page shows
VIEW_RECORDS = "api.view_usagerecord"


def render_history(request: HttpRequest, token: UpstreamToken) -> SafeString:
    """Return a table of the latest changes of the token's state, the newest first."""
    changes = list(token.transitions.all()[:MAX_LISTED_CHANGES])
    if not changes:
        return format_html('<p class="quiet">{}</p>', _("Its state has never changed."))
    may_view = request.user.has_perm(VIEW_RECORDS)
    body = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                render_time(change.at),
                describe_change(change),
                change.reason,
                render_cause(change.cause, may_view=may_view),
            )
            for change in changes
        ),
    )
    names = (_("time"), _("change"), _("reason"), _("request"))
    head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in names))
    return format_html(
        '<div class="table-wrap" tabindex="0"><table class="table"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>",
        head,
        body,
    )


def describe_change(change: Transition) -> str:
    """Return `active → disabled`; a strike that changed no state is named as one."""
    if change.before == change.after and change.reason.startswith(AUTH_REASON):
        return _("strike")
    return f"{change.before} → {change.after}"


def render_cause(cause: str, *, may_view: bool) -> SafeString | str:
    """Return the request behind a change, as a link for those who may see usage records."""
    if not cause:
        return ""
    try:
        record_id = UUID(cause.removeprefix("req_"))
    except ValueError:
        return cause
    name = f"req_{record_id.hex}"
    if not may_view:
        return format_html('<span class="mono">{}</span>', name)
    address = reverse("admin:api_usagerecord_change", args=[record_id])
    return format_html('<a class="mono" href="{}">{}</a>', address, name)


def render_last_check(request: HttpRequest, token: UpstreamToken) -> SafeString | str:
    """Return the last check with the upstream's whole answer."""
    check = find_last_check(token)
    if check is None:
        return format_html('<p class="quiet">{}</p>', _("It has never been checked."))
    took = ""
    if check.milliseconds is not None:
        took = _("The answer took %(count)s ms.") % {"count": f"{check.milliseconds:,}"}
    return format_html(
        '<p>{}</p><p>{}</p><p class="quiet">{}</p>', render_check(check), check.reason, took
    )
