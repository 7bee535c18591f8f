"""Find a row by its secret in the admin, without the secret in any address.

Addresses stay in the browser's history and in the logs of proxies. So the search box posts the text
that was typed: a secret leads directly to its row, by its fingerprint. Only text that a row shows
openly (a name, a mask, an id) becomes the `?q=` of a list.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

SECRET_LENGTH = 32_768  # characters that may be pasted into the search box


class SecretSearch:
    """A mixin for the admin of rows with secrets. Mix it in before BigTableAdmin.

    `find_by_secret` finds rows by a secret; `get_public_name` returns the part of it that a row
    shows.
    """

    searches_by_post = True
    admin_site: AdminSite
    opts: Any

    def find_by_secret(self, queryset: QuerySet[Any], secret: str) -> QuerySet[Any]:
        """Return the rows that have exactly this secret."""
        raise NotImplementedError

    def get_public_name(self, row: Any) -> str:
        """Return the text that `row` shows of its secret; the list can be searched for it."""
        raise NotImplementedError

    def get_public_term(self, term: str) -> str:
        """Return the part of a successful search text that may stand in an address."""
        return term

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_search"
        view = self.admin_site.admin_view(self.redirect_to_match)
        return [path("search/", view, name=name), *super().get_urls()]  # type: ignore[misc]

    @method_decorator(require_POST)
    @method_decorator(sensitive_post_parameters("q"))
    def redirect_to_match(self, request: HttpRequest) -> HttpResponse:
        """Redirect the browser to the row or the rows that the search text finds."""
        if not self.has_view_or_change_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        term = request.POST.get("q", "").replace("\x00", "").strip()[:SECRET_LENGTH]
        rows = self.get_queryset(request)  # type: ignore[attr-defined]
        exact: list[Model] = []
        if term:
            exact = list(self.find_by_secret(rows, term)[:2])
        if len(exact) == 1:
            return HttpResponseRedirect(self.build_address("change", exact[0].pk))
        if exact:
            return self.redirect_to_list(request, self.get_public_name(exact[0]))
        if term and not self.find_rows(rows, term).exists():  # type: ignore[attr-defined]
            text = gettext("No row has this secret, name or id.")
            messages.warning(request, text)
            term = ""
        return self.redirect_to_list(request, self.get_public_term(term))

    def redirect_to_list(self, request: HttpRequest, term: str) -> HttpResponse:
        """Redirect to the list with its present filters, and `term` as its search."""
        query = request.POST.copy()
        for name in ("csrfmiddlewaretoken", "q"):
            query.pop(name, None)
        if term:
            query["q"] = term
        address = self.build_address("changelist")
        if query:
            address += f"?{query.urlencode()}"
        return HttpResponseRedirect(address)

    def build_address(self, page: str, *args: object) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)
