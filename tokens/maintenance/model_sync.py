"""Add the models of an upstream's own list as rows. No row is deleted or changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError

from providers.choices import Mode
from providers.exceptions import NoAvailableToken, TokenError, UpstreamTimeout
from providers.models import ChatModel, Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.vault import VaultError
from tokens.maintenance.token_check import (
    CHECK_TIMEOUT_SECONDS,
    build_maintenance_adapter,
    open_token_credential,
)
from tokens.models import UpstreamToken


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
    listed = load_model_list(provider)
    rows = dict(provider.models.values_list("upstream_name", "public_id"))
    taken = set(rows.values())
    report = SyncReport(
        [], [], [], sorted(public_id for name, public_id in rows.items() if name not in set(listed))
    )
    new = []
    for name in dict.fromkeys(listed):
        model = ChatModel(provider=provider, public_id=f"{prefix}{name}", upstream_name=name)
        if name in rows or model.public_id in taken:
            report.known.append(rows.get(name, model.public_id))
            continue
        try:
            model.clean_fields()
        except ValidationError:
            report.unusable.append(name)
            continue
        report.added.append(model.public_id)
        new.append(model)
    if not dry_run:
        ChatModel.objects.bulk_create(new, ignore_conflicts=True)
    return report


def load_model_list(provider: Provider) -> list[str]:
    """Return the upstream's model list, asked with one usable token after another.

    The first token that is accepted ends the search.
    """
    guest = provider.mode == Mode.GUEST
    tokens: list[UpstreamToken | None] = []
    if not guest:
        tokens = [
            *provider.tokens.all().filter_usable().filter_with_access()[: settings.MAX_ATTEMPTS]
        ]
    if not tokens and (guest or not provider.needs_token):
        tokens = [None]
    return asyncio.run(request_model_list(provider, tokens))


async def request_model_list(
    provider: Provider, tokens: Sequence[UpstreamToken | None]
) -> list[str]:
    problem: Exception = NoAvailableToken("It has no usable token.")
    try:
        async with Clients() as clients, asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            upstream = build_maintenance_adapter(provider, clients)
            for token in tokens:
                try:
                    return await upstream.list_model_ids(
                        open_token_credential(token) if token else Credential(None, "")
                    )
                except (TokenError, VaultError) as error:
                    problem = error
    except TimeoutError:
        raise UpstreamTimeout("The upstream took too long.") from None
    raise problem
