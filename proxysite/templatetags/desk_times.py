"""Times in templates of the desk, shown as in its lists."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from providers.admin.page_times import render_time

register = template.Library()


@register.filter
def page_time(moment: datetime | None) -> SafeString | str:
    """Return a `<time>` element in the viewer's zone, or a dash."""
    return render_time(moment)
