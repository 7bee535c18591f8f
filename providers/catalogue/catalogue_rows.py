"""Read all rows of the catalogue from the database, as values that requests can use."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

from django.conf import settings

from providers.choices import Mode
from providers.exceptions import ProviderDown
from providers.models import ChatModel, ModelAlias, Provider, VirtualModel
from providers.network.target import Timeouts
from providers.protocol.json_types import JsonObject
from providers.upstream.base_adapter import Limits, Upstream

logger = logging.getLogger(__name__)
MODEL_COLUMNS = (
    "provider_id",
    "provider__name",
    "provider__kind",
    "public_id",
    "upstream_name",
    "priority",
    "weight",
    "capabilities",
    "context_window",
    "max_output_tokens",
    "long_prompts",
    "thinking_format",
    "thinking",
    "search",
    "server_tools",
    "options",
    "created_at",
)
VIRTUAL_COLUMNS = ("public_id", "base", "strategy", "options", "created_at")


class ResolvedModel(NamedTuple):
    """The meaning of a caller's model name: a public id, and the alias's settings."""

    public_id: str
    thinking: str = ""
    search: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueRows:
    """All rows that one reading of the database returned."""

    upstreams: list[Upstream]
    models: list[JsonObject]
    aliases: dict[str, ResolvedModel]
    virtuals: list[JsonObject]
    set_aside_ids: frozenset[int] = frozenset()  # ids of providers whose address is not confirmed


def read_catalogue_rows() -> CatalogueRows:
    """Read all rows from the database; run it in a database thread."""
    providers = list(Provider.objects.filter(enabled=True))
    upstreams = []
    set_aside_ids = set()
    for provider in providers:
        try:
            upstreams.append(make_upstream(provider))
        except ProviderDown as error:
            logger.debug("the provider %s is not called: %s", provider.name, error.message)
            set_aside_ids.add(provider.pk)
    aliases = ModelAlias.objects.values_list("alias", "public_id", "thinking", "search")
    return CatalogueRows(
        upstreams=upstreams,
        models=list(ChatModel.objects.filter_served().values(*MODEL_COLUMNS)),
        aliases={alias: ResolvedModel(*meaning) for alias, *meaning in aliases},
        virtuals=list(VirtualModel.objects.filter(enabled=True).values(*VIRTUAL_COLUMNS)),
        set_aside_ids=frozenset(set_aside_ids),
    )


def set_aside_public_ids(rows: CatalogueRows) -> frozenset[str]:
    """Return the public ids, virtual ones too, of providers that are set aside."""
    ids = {row["public_id"] for row in rows.models if row["provider_id"] in rows.set_aside_ids}
    virtual_ids = {row["public_id"] for row in rows.virtuals if row["base"] in ids}
    return frozenset(ids | virtual_ids)


def make_upstream(provider: Provider) -> Upstream:
    """Return a provider's row as a frozen value, with the settings where the row has no value.

    Raises ProviderDown when the provider is set aside or its proxy cannot be used, so that nobody
    gets an adapter that would call it.
    """
    if provider.set_aside_reason:
        raise ProviderDown(provider.set_aside_reason)
    timeouts = Timeouts(
        connect=provider.connect_seconds or settings.CONNECT_SECONDS,
        first_byte=provider.first_byte_seconds or settings.FIRST_BYTE_SECONDS,
        gap=provider.gap_seconds or settings.GAP_SECONDS,
        tail=settings.TAIL_SECONDS,
        total=provider.total_seconds or settings.TOTAL_SECONDS,
    )
    return Upstream(
        id=provider.pk,
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        headers=tuple(sorted(provider.headers.items())),
        mode=provider.mode,
        rotation=provider.rotation,
        needs_token=provider.needs_token and provider.mode != Mode.GUEST,
        native_tools=provider.native_tools,
        reports_usage=provider.reports_usage,
        allow_private=provider.allow_private,
        timeouts=timeouts,
        limits=Limits(
            settings.UPSTREAM_ANSWER_BYTES,
            settings.UPSTREAM_EVENT_BYTES,
            settings.UPSTREAM_STREAM_BYTES,
            settings.COUNT_KEPT_BYTES,
        ),
        dialect=provider.dialect,
        dialect_changes=provider.dialect_changes,
        proxy=provider.find_proxy(),
    )
