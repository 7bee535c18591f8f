"""The adapters, found by file name.

Each module or package `providers/adapters/<kind>` has a `class Adapter(BaseAdapter)`; no other
registration is needed.
"""

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.upstream.base_adapter import BaseAdapter

# headers that the gateway itself writes or must never send: no row and no caller may set them
OWN_HEADERS = frozenset(
    """
    host content-length content-type transfer-encoding connection authorization accept
    accept-encoding cookie expect upgrade te trailer keep-alive proxy-authorization proxy-connection
    forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-api-key
    x-goog-api-key
    """.split()
)


@cache
def list_adapter_kinds() -> tuple[str, ...]:
    """Return the names of all adapters, sorted."""
    from providers import adapters

    return tuple(sorted(module.name for module in pkgutil.iter_modules(adapters.__path__)))


@cache
def get_adapter_class(kind: str) -> "type[BaseAdapter]":
    """Return the adapter class of that name. Raises KeyError when there is none."""
    if kind not in list_adapter_kinds():
        raise KeyError(kind)
    adapter_class: type[BaseAdapter] = import_module(f"providers.adapters.{kind}").Adapter
    return adapter_class
