"""The pages of django-axes, to be read alone: the page of lock-outs has the buttons."""

from typing import Any

from axes import admin as axes_admin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.http import HttpRequest

MODELS = (AccessAttempt, AccessFailureLog, AccessLog)


class ReadOnly:
    """A mixin for an admin whose rows nobody changes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def make_read_only() -> None:
    """Register the pages of django-axes anew, without buttons."""
    for model in MODELS:
        if not admin.site.is_registered(model):
            continue
        stock = getattr(axes_admin, f"{model.__name__}Admin")
        admin.site.unregister(model)
        read_only = type(f"ReadOnly{model.__name__}Admin", (ReadOnly, stock), {})
        admin.site.register(model, read_only)
