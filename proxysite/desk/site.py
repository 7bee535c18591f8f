"""The admin site: Django's, with a navigation by task."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from proxysite.desk.model_texts import translate_model_texts
from proxysite.desk.navigation import build_navigation


class DeskConfig(AdminConfig):
    """Django's app `admin`, with `DeskSite` as `admin.site`."""

    default_site = "proxysite.desk.site.DeskSite"

    def ready(self) -> None:
        """Translate the texts of models before the admins, which use them, are imported."""
        translate_model_texts()
        super().ready()


class DeskSite(admin.AdminSite):
    site_header = site_title = "proxysite"
    enable_nav_sidebar = False  # our own navigation takes its place
    site_url = None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Return the apps with their models, once somebody looks at them.

        Django makes them for every page, for a navigation by app that no page here has.
        """
        return SimpleLazyObject(lambda: super(DeskSite, self).get_app_list(request, app_label))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the variables of every page; the navigation is for those who are signed in."""
        context = super().each_context(request)
        if context["has_permission"]:
            context |= {"has_navigation": True, "navigation": build_navigation(self, request)}
        return context
