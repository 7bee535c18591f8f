"""System checks of the encryption keys, the web search settings and the adapters that rows name.

`serve` also runs the checks that read the database.
"""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from providers import registry, vault, web_search
from providers.models import Provider


@register(Tags.security)
def vault_keys_work(**kwargs: Any) -> list[CheckMessage]:
    """Report providers.E001 when FIELD_KEYS cannot be used."""
    try:
        if vault.ciphers():
            return []
        problem = "it is empty"
    except ValueError as error:
        problem = str(error)
    return [
        Error(
            f"FIELD_KEYS is not usable: {problem}.",
            hint="Give id:base64-of-32-bytes, comma separated.",
            id="providers.E001",
        )
    ]


@register()
def web_search_is_configured_whole(**kwargs: Any) -> list[CheckMessage]:
    """Report providers.E003 when the SEARCH_… settings do not fit together."""
    problem = web_search.problem()
    return [Error(problem, id="providers.E003")] if problem else []


@register(Tags.database)
def adapters_exist(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report providers.E002 for each provider that names an adapter which no file defines."""
    if not databases:
        return []
    try:
        wrong = list(Provider.objects.exclude(kind__in=registry.kinds()))
    except DatabaseError:
        return []  # the tables do not exist before the first migrate
    return [
        Error(
            f"The provider {provider.name!r} names the adapter {provider.kind!r}, which does "
            "not exist.",
            hint=f"There are: {', '.join(registry.kinds())}.",
            id="providers.E002",
        )
        for provider in wrong
    ]
