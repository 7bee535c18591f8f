"""The section “Usage” on the pages of API keys, users and teams: links to their usage records."""

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

VIEW_PERMISSION = "api.view_usagerecord"
USAGE_FIELDSET = ("Usage", {"fields": ("usage_section",)})


def may_view_usage(request: HttpRequest) -> bool:
    """Return whether the person may see usage records."""
    return bool(request.user.has_perm(VIEW_PERMISSION))


def render_usage_section(field_name: str, row: Model) -> SafeString:
    """Return links about the usage of a row; `field_name` is the reference of usage records."""
    address = reverse("admin:api_usagerecord_changelist")
    return format_html(
        '<a href="{}?{}__id__exact={}">Usage records of {}</a>', address, field_name, row.pk, row
    )
