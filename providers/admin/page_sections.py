"""Sections, buttons, pages and columns that other apps add to the pages of rows in the admin.

Providers and models are rows of the lowest layer, but their pages show tokens, requests and prices,
which belong to higher layers. Each app registers its parts here when its admin is loaded. A part
with a permission is left out for people who do not have it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.functional import Promise
from django.utils.safestring import SafeString

Text = str | Promise
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a row's page; `render` returns HTML, or an empty string for nothing."""

    title: Text
    render: Callable[[HttpRequest, Any], SafeString | str]
    order: int = 50  # the lowest is first
    permission: str = ""
    is_wide: bool = False  # as wide as the page


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a row's page: a link, or a form that posts when `is_post`."""

    label: Text
    url_name: str  # its address takes the row's primary key
    order: int = 50
    permission: str = ""
    is_post: bool = False
    style: str = ""  # a class of the style sheet, such as button-primary
    is_shown: Callable[[Any], bool] = lambda row: True
    help_text: Text = ""
    values: Callable[[Any], dict[str, object]] = lambda row: {}  # hidden fields of the form


@dataclass(frozen=True, slots=True)
class SubPage:
    """A page below that of a row: `<pk>/<segment>/`.

    Its name is `admin:<app>_<model>_<segment>`, with underscores for hyphens.
    """

    segment: str
    view: Callable[..., HttpResponse]  # called with the request and the row's primary key


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list; `prepare` reads its data once and returns a function of a row."""

    name: str
    label: Text
    prepare: Callable[[], Callable[[Any], object]]
    permission: str = ""


@dataclass
class PageParts:
    """The parts that apps have registered for the pages of one model."""

    sections: list[Section] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)
    sub_pages: list[SubPage] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    def register_parts(self, *parts: Section | Button | SubPage | Column) -> None:
        """Add parts to the pages. Call it once, when an admin is loaded."""
        for part in parts:
            if isinstance(part, Section):
                self.sections.append(part)
            elif isinstance(part, Button):
                self.buttons.append(part)
            elif isinstance(part, SubPage):
                self.sub_pages.append(part)
            else:
                self.columns.append(part)

    def render_sections(self, request: HttpRequest, row: Model) -> list[dict[str, object]]:
        """Return the title and the HTML of each section that this person may see."""
        rendered: list[dict[str, object]] = []
        for section in sorted(self.sections, key=lambda one: one.order):
            if is_permitted(request, section.permission):
                html = section.render(request, row)
                if html:
                    rendered.append(
                        {"title": section.title, "html": html, "is_wide": section.is_wide}
                    )
        return rendered

    def list_buttons(self, request: HttpRequest, row: Model) -> list[dict[str, object]]:
        """Return the buttons of a row that this person may press, each with its address."""
        return [
            {
                "button": button,
                "address": reverse(button.url_name, args=[row.pk]),
                "values": button.values(row),
            }
            for button in sorted(self.buttons, key=lambda one: one.order)
            if is_permitted(request, button.permission) and button.is_shown(row)
        ]

    def build_urls(self, site: admin.AdminSite, prefix: str, converter: str = "int") -> list[Any]:
        """Return the addresses of the sub-pages; `prefix` is `<app>_<model>`."""
        return [
            path(
                f"<{converter}:pk>/{page.segment}/",
                site.admin_view(page.view),
                name=f"{prefix}_{page.segment.replace('-', '_')}",
            )
            for page in self.sub_pages
        ]

    def make_columns(self, request: HttpRequest) -> list[Callable[[Any], object]]:
        """Return the columns that this person may see, as Django's admin wants them."""
        return [
            make_lazy_column(column)
            for column in self.columns
            if is_permitted(request, column.permission)
        ]


PROVIDER_PAGE = PageParts()
MODEL_PAGE = PageParts()
TOKEN_PAGE = PageParts()


def is_permitted(request: HttpRequest, permission: str) -> bool:
    """Return whether the person has the permission; everybody has an empty one."""
    return not permission or bool(request.user.has_perm(permission))


def make_lazy_column(column: Column) -> Callable[[Any], object]:
    """Return a column for `list_display` that reads nothing before its first cell."""
    prepared: list[Callable[[Any], object]] = []

    def render_cell(row: Any) -> object:
        if not prepared:
            prepared.append(column.prepare())
        return prepared[0](row)

    render_cell.__name__ = column.name
    return admin.display(description=cast(str, column.label))(render_cell)


class PageWithParts:
    """A mixin for an admin whose pages have registered parts. Mix it in before ModelAdmin.

    The template of the row's page includes `admin/page_buttons.html` and
    `admin/page_sections.html`.
    """

    page_parts: PageParts
    pk_converter = "int"
    admin_site: admin.AdminSite
    opts: Any

    def get_urls(self) -> list[Any]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        pages = self.page_parts.build_urls(self.admin_site, prefix, self.pk_converter)
        return [*pages, *super().get_urls()]  # type: ignore[misc]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        names = super().get_list_display(request)  # type: ignore[misc]
        return [*names, *self.page_parts.make_columns(request)]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context.get("original")
        if row is not None:
            context["page_buttons"] = self.page_parts.list_buttons(request, row)
            context["page_sections"] = self.page_parts.render_sections(request, row)
        answer: HttpResponse = super().render_change_form(  # type: ignore[misc]
            request, context, *args, **kwargs
        )
        return answer


def find_permitted(request: HttpRequest, model: type[Row], pk: object, permission: str) -> Row:
    """Return the row with this key, for a person with the permission.

    Raises PermissionDenied, and Http404 when there is no such row.
    """
    if not is_permitted(request, permission):
        raise PermissionDenied
    return get_object_or_404(model, pk=pk)
