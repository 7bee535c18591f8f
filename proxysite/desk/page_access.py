"""Permissions and addresses of pages, as the pages of the desk ask for them."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def has_admin_permission(request: HttpRequest, model: type[Model], action: str) -> bool:
    """Return whether this member of staff may view, add or change rows of `model`."""
    model_admin = admin.site._registry[model]
    is_allowed: bool = getattr(model_admin, f"has_{action}_permission")(request)
    return is_allowed


def find_address(*names: str, args: tuple[object, ...] = ()) -> str:
    """Return the address of the first of these pages that exists; empty when there is none."""
    for name in names:
        try:
            return reverse(name, args=args)
        except NoReverseMatch:
            continue
    return ""
