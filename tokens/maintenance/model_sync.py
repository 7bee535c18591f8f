"""Add the models of an upstream's own list as rows. No row is deleted or changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from providers.exceptions import NoAvailableToken, TokenError, UpstreamTimeout
from providers.models import ChatModel, Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from providers.vault import VaultError
from tokens.maintenance.credential_check import CHECK_TIMEOUT_SECONDS
from tokens.models import UpstreamToken
from tokens.upstream_access import (
    build_maintenance_adapter,
    list_usable_tokens,
    open_token_credential,
)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The public ids of a sync, by result.

    They were added, known already, listed under a name that no model may have, or are no longer
    listed.
    """

    added: list[str]
    known: list[str]
    unusable: list[str]
    gone: list[str]


def create_listed_models(
    provider: Provider, *, prefix: str = "", dry_run: bool = False
) -> SyncReport:
    """Add the models that the upstream lists, with public ids that begin with `prefix`.

    Writes nothing if `dry_run`. Raises GatewayError, VaultError.
    """
    listed_names = load_model_list(provider)
    public_ids = dict(provider.models.values_list("upstream_name", "public_id"))
    used_public_ids = set(public_ids.values())
    gone = sorted(public_ids[name] for name in public_ids.keys() - set(listed_names))
    report = SyncReport([], [], [], gone)
    new_models = []
    for name in dict.fromkeys(listed_names):
        model = ChatModel(provider=provider, public_id=f"{prefix}{name}", upstream_name=name)
        if name in public_ids or model.public_id in used_public_ids:
            report.known.append(public_ids.get(name, model.public_id))
        elif not has_valid_fields(model):
            report.unusable.append(name)
        else:
            report.added.append(model.public_id)
            new_models.append(model)
    if not dry_run:
        ChatModel.objects.bulk_create(new_models, ignore_conflicts=True)
    return report


def has_valid_fields(model: ChatModel) -> bool:
    try:
        model.clean_fields()
    except ValidationError:
        return False
    return True


def load_model_list(provider: Provider) -> list[str]:
    """Return the upstream's model list, asked with one usable token after another.

    The first token that is accepted ends the search.
    """
    return asyncio.run(request_model_list(provider, list_usable_tokens(provider)))


async def request_model_list(
    provider: Provider, tokens: Sequence[UpstreamToken | None]
) -> list[str]:
    """Ask for the model list with one token after another; None is a call without a token.

    Raises the error of the last token.
    """
    try:
        async with Clients() as clients, asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await _ask_with_each(build_maintenance_adapter(provider, clients), tokens)
    except TimeoutError:
        raise UpstreamTimeout("The upstream took too long.") from None


async def _ask_with_each(adapter: BaseAdapter, tokens: Sequence[UpstreamToken | None]) -> list[str]:
    problem: Exception = NoAvailableToken("It has no usable token.")
    for token in tokens:
        try:
            credential = open_token_credential(token) if token else Credential(None, "")
            return await adapter.list_model_ids(credential)
        except (TokenError, VaultError) as error:
            problem = error
    raise problem
