"""System checks of the encryption keys, some settings, and the adapters.

`serve` also runs the checks that read the database.
"""

from collections.abc import Sequence

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from providers import registry, vault, web_search
from providers.choices import ServerTool
from providers.models import Provider
from providers.network.proxies.outbound_proxy import find_default_proxy


@register(Tags.security)
def check_vault_keys(**kwargs: object) -> list[CheckMessage]:
    """Report providers.E001 when FIELD_KEYS cannot be used."""
    try:
        if vault.get_ciphers():
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
def check_web_search_settings(**kwargs: object) -> list[CheckMessage]:
    """Report providers.E003 when the SEARCH_… settings do not fit together."""
    problem = web_search.find_settings_problem()
    if problem is None:
        return []
    return [Error(problem, id="providers.E003")]


@register()
def check_server_tools_setting(**kwargs: object) -> list[CheckMessage]:
    """Report providers.E005 when SERVER_TOOLS names a tool that does not exist."""
    unknown = sorted(set(settings.SERVER_TOOLS) - set(ServerTool.values))
    if not unknown:
        return []
    names = ", ".join(ServerTool.values)
    return [Error(f"SERVER_TOOLS names {unknown[0]!r}; there are: {names}.", id="providers.E005")]


@register()
def check_proxy_setting(**kwargs: object) -> list[CheckMessage]:
    """Report providers.E004 when PROXY_URL cannot be used."""
    try:
        find_default_proxy(allow_private=False)
    except ValueError as error:
        return [Error(f"PROXY_URL: {error}", id="providers.E004")]
    return []


@register(Tags.database)
def check_adapters(
    *, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Report providers.E002 for each provider that names an adapter which no file defines."""
    if not databases:
        return []
    try:
        unknown = list(Provider.objects.exclude(kind__in=registry.list_adapter_kinds()))
    except DatabaseError:
        return []  # the tables do not exist before the first migrate
    return [
        Error(
            f"The provider {provider.name!r} names the adapter {provider.kind!r}, which does "
            "not exist.",
            hint=f"There are: {', '.join(registry.list_adapter_kinds())}.",
            id="providers.E002",
        )
        for provider in unknown
    ]
