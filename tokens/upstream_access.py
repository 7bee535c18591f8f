"""Ask upstreams outside the gateway, for checks, renewals and lists of models."""

from django.conf import settings

from providers import catalogue, registry, vault
from providers.choices import Mode
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from tokens.models import UpstreamToken


def build_maintenance_adapter(provider: Provider, clients: Clients) -> BaseAdapter:
    """Return the provider's adapter for use outside the gateway.

    Raises KeyError if there is none of that kind; ProviderDown if the provider is set aside.
    """
    return registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


def list_usable_tokens(provider: Provider) -> list[UpstreamToken | None]:
    """Return the tokens to ask an upstream with, one after another until one is accepted.

    None stands for a call without a token.
    """
    is_guest = provider.mode == Mode.GUEST
    tokens: list[UpstreamToken | None] = []
    if not is_guest:
        usable = provider.tokens.all().filter_usable().filter_with_access()
        tokens += usable[: settings.MAX_ATTEMPTS]
    may_ask_without_token = is_guest or not provider.needs_token
    if not tokens and may_ask_without_token:
        tokens.append(None)
    return tokens


def open_token_credential(token: UpstreamToken) -> Credential:
    """Open the token's secret. Raises VaultError if that is not possible."""
    return Credential(token.pk, vault.decrypt_secret(token.sealed, str(token.pk)))
