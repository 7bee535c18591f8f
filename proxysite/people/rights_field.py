"""The field for single rights: only those that mean something here, in plain words."""

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _


class RightsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A choice of rights that are named like “API keys: change”."""

    def label_from_instance(self, obj: Any) -> str:
        return describe_right(obj)


def list_rights() -> QuerySet[Permission]:
    """Return the rights about rows that have a page in the admin."""
    types = ContentType.objects.get_for_models(*admin.site._registry)
    return (
        Permission.objects.filter(content_type__in=[one.pk for one in types.values()])
        .select_related("content_type")
        .order_by("content_type__app_label", "content_type__model", "codename")
    )


def describe_right(right: Permission) -> str:
    """Return a right in plain words."""
    kind = right.content_type
    action = right.codename.partition("_")[0]
    words = {"view": _("see"), "add": _("add"), "change": _("change"), "delete": _("delete")}
    try:
        name = apps.get_model(kind.app_label, kind.model)._meta.verbose_name_plural
    except LookupError:
        name = kind.model
    return f"{capfirst(str(name))}: {words.get(action) or right.name}"


def make_rights_field(db_field: Any) -> RightsField:
    """Return the form field for a many-to-many field of rights."""
    return RightsField(
        queryset=list_rights(),
        required=False,
        label=capfirst(_("rights")),
        widget=FilteredSelectMultiple(_("rights"), False),
        help_text=_("A role is easier to understand than single rights."),
    )
