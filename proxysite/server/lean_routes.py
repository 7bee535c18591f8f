"""Which requests the lean handler serves: those of views that are marked for it.

A view is marked by `api.exceptions.api_endpoint` or `mark_lean`: its attribute `lean_methods` has
the HTTP methods that need no thread and no middleware. All other requests are served by Django's
own handler.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.urls import URLPattern, resolve
from django.urls.exceptions import Resolver404

View = Callable[..., Any]
NO_METHODS: frozenset[str] = frozenset()


class LeanRoutes:
    """The routes of a URLconf whose views are marked."""

    def __init__(self, patterns: Iterable[object]) -> None:
        """Read the marks; `patterns` are the entries of the URLconf."""
        self._methods_by_path: dict[str, frozenset[str]] = {}
        self._prefixes: tuple[str, ...] = ()  # what stands before the parameter of a route
        for pattern in patterns:
            if isinstance(pattern, URLPattern) and get_lean_methods(pattern.callback):
                self._add_route(str(pattern.pattern), pattern.callback)

    def _add_route(self, route: str, view: View) -> None:
        prefix, has_parameter, _ = route.partition("<")
        if has_parameter:
            self._prefixes += (f"/{prefix}",)
        else:
            self._methods_by_path[f"/{route}"] = get_lean_methods(view)

    def is_served_lean(self, method: str, path: str) -> bool:
        """Return whether the lean handler serves the request."""
        methods = self._methods_by_path.get(path)
        if methods is None:
            if not path.startswith(self._prefixes):
                return False
            methods = find_methods(path)
        return method in methods


def get_lean_methods(view: View) -> frozenset[str]:
    """Return the methods for which a view is marked."""
    methods: frozenset[str] = getattr(view, "lean_methods", NO_METHODS)
    return methods


def find_methods(path: str) -> frozenset[str]:
    """Return the methods for which the view at a path is marked; none where there is no view."""
    try:
        return get_lean_methods(resolve(path).func)
    except Resolver404:
        return NO_METHODS
