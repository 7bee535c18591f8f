"""The template filter of times on the pages of imports."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from providers.admin.page_times import render_time

register = template.Library()


@register.filter
def time_element(moment: datetime | None) -> SafeString | str:
    """Return the time as a `<time>` element in the viewer's zone."""
    return render_time(moment)
