"""Times on pages: in the viewer's time zone, with the zone said."""

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString


def format_time(moment: datetime) -> str:
    """Return an aware time as `2026-01-31 18:05:09`, in the viewer's zone."""
    return date_format(timezone.localtime(moment), "Y-m-d H:i:s")


def render_time(moment: datetime | None, *, is_relative: bool = False) -> SafeString | str:
    """Return a `<time>` element; its title names the zone. `-` where there is no time.

    `is_relative` lets the browser show it as “5 minutes ago”.
    """
    if moment is None:
        return "-"
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{} {}"{}>{}</time>',
        local.isoformat(),
        format_time(moment),
        local.tzname(),
        SafeString(" data-relative") if is_relative else "",
        format_time(moment),
    )
