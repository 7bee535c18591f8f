"""The navigation of the desk: pages by a person's purpose, not by Django app.

Each entry is the list of a model, or a page of its own. A person sees the entries that he has the
permission for, and the sections that have an entry.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.apps import apps
from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, slots=True)
class ModelPage:
    """The list of a model in the admin; seen by those who may view its rows."""

    label: Text
    model: str  # app_label.model_name

    @property
    def url_name(self) -> str:
        return f"admin:{self.model.replace('.', '_')}_changelist"


@dataclass(frozen=True, slots=True)
class DeskPage:
    """A page of its own; seen by staff with `permission`, by all staff where it is empty.

    `setting` names the switch without which there is no such page.
    """

    label: Text
    url_name: str
    permission: str = ""
    setting: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    label: Text
    pages: tuple[ModelPage | DeskPage, ...]


@dataclass(frozen=True, slots=True)
class ShownEntry:
    label: Text
    address: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class ShownSection:
    label: Text
    entries: tuple[ShownEntry, ...]

    @property
    def has_heading(self) -> bool:
        """Return whether the label says more than that of the only entry."""
        return [str(entry.label) for entry in self.entries] != [str(self.label)]


SECTIONS = (
    Section(
        _("Overview"),
        (
            DeskPage(_("Overview"), "admin:index"),
            DeskPage(_("Playground"), "playground:page", setting="PLAYGROUND"),
            DeskPage(_("API documentation"), "api-docs"),
        ),
    ),
    Section(
        _("Requests"),
        (
            ModelPage(_("Requests"), "api.usagerecord"),
            DeskPage(_("Live board"), "live-board", "api.view_usagerecord"),
        ),
    ),
    Section(
        _("Providers and models"),
        (
            ModelPage(_("Providers"), "providers.provider"),
            ModelPage(_("Models"), "providers.chatmodel"),
            ModelPage(_("Aliases"), "providers.modelalias"),
            ModelPage(_("Virtual models"), "providers.virtualmodel"),
            ModelPage(_("MCP servers"), "providers.mcpserver"),
            DeskPage(_("Try a route"), "routing", "providers.view_chatmodel"),
        ),
    ),
    Section(
        _("Tokens"),
        (
            ModelPage(_("Tokens"), "tokens.upstreamtoken"),
            ModelPage(_("Accounts"), "tokens.upstreamaccount"),
            ModelPage(_("Imports"), "tokens.importbatch"),
        ),
    ),
    Section(
        _("Keys and people"),
        (
            ModelPage(_("API keys"), "api.apikey"),
            ModelPage(_("Users"), "auth.user"),
            ModelPage(_("Teams"), "api.team"),
            ModelPage(_("Invitations"), "api.invitation"),
            ModelPage(_("Roles"), "auth.group"),
            ModelPage(_("Audit log"), "proxysite.auditentry"),
        ),
    ),
    Section(
        _("Conversations"),
        (ModelPage(_("Conversations"), "conversations.conversation"),),
    ),
    Section(
        _("Documents"),
        (
            ModelPage(_("Documents"), "conversations.document"),
            ModelPage(_("Files"), "conversations.storedfile"),
            ModelPage(_("Batches"), "api.batch"),
        ),
    ),
    Section(
        _("Limits and prices"),
        (
            ModelPage(_("Prices"), "api.price"),
            ModelPage(_("Alerts"), "api.alertevent"),
            ModelPage(_("Alert deliveries"), "api.alertdelivery"),
        ),
    ),
    Section(
        _("System"),
        (
            ModelPage(_("Sessions"), "proxysite.loginsession"),
            DeskPage(_("Lock-outs"), "system-locks", "axes.view_accessattempt"),
            ModelPage(_("Deletions"), "providers.deletion"),
            ModelPage(_("Periodic tasks"), "django_celery_beat.periodictask"),
            ModelPage(_("Intervals"), "django_celery_beat.intervalschedule"),
            ModelPage(_("Crontabs"), "django_celery_beat.crontabschedule"),
            ModelPage(_("Failed logins"), "axes.accessattempt"),
            ModelPage(_("Login failure log"), "axes.accessfailurelog"),
            ModelPage(_("Logins"), "axes.accesslog"),
        ),
    ),
)


def build_navigation(site: AdminSite, request: HttpRequest) -> list[ShownSection]:
    """Return the sections with the pages that this person may see; one of them is current."""
    pages = [
        (section, page, find_address(page.url_name))
        for section in SECTIONS
        for page in section.pages
        if may_see(site, request, page)
    ]
    current = find_current_address(request.path, (address for _, _, address in pages))
    sections: dict[Section, list[ShownEntry]] = {}
    for section, page, address in pages:
        entry = ShownEntry(page.label, address, address == current)
        sections.setdefault(section, []).append(entry)
    return [ShownSection(section.label, tuple(shown)) for section, shown in sections.items()]


@cache
def find_address(url_name: str) -> str:
    """Return the address of a page: every page of the desk has all of them."""
    return reverse(url_name)


def may_see(site: AdminSite, request: HttpRequest, page: ModelPage | DeskPage) -> bool:
    """Return whether this member of staff may see a page."""
    if isinstance(page, DeskPage):
        if page.setting and not getattr(settings, page.setting):
            return False
        return not page.permission or bool(request.user.has_perm(page.permission))
    model_admin = site._registry[apps.get_model(page.model)]
    return bool(model_admin.has_view_or_change_permission(request))


def find_current_address(path: str, addresses: Iterator[str]) -> str:
    """Return the longest of the addresses that `path` is at or below."""
    return max((address for address in addresses if path.startswith(address)), key=len, default="")
