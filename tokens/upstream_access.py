"""Ask upstreams outside the gateway, for checks, renewals and lists of models."""

from providers import catalogue, registry, vault
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


def open_token_credential(token: UpstreamToken) -> Credential:
    """Open the token's secret. Raises VaultError if that is not possible."""
    return Credential(token.pk, vault.decrypt_secret(token.sealed, str(token.pk)))
