"""The in-memory directory of providers and models: which candidates answer for a public id.

`Catalogue.read_catalogue_rows()` loads all rows (a few hundred at most) and
`Catalogue.apply_rows()` puts them in force in one step, so a request never sees a mixture of old
and new rows. Requests get frozen values, never rows: a `Candidate` (a ChatModel as it was read)
with the adapter of its `Upstream`.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from providers import registry
from providers.choices import Mode
from providers.exceptions import InvalidRequest, ModelNotFound, ProviderDown
from providers.models import ChatModel, ModelAlias, Provider, VirtualModel
from providers.network.clients import Clients
from providers.network.target import Timeouts
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter, Limits, Upstream

MODEL_COLUMNS = (
    *("public_id", "upstream_name", "priority", "weight", "capabilities", "context_window"),
    *("thinks", "thinking", "search", "options"),
)
CAPABILITY_BY_ENDPOINT = {CHAT: "chat", "completions": "completions", "embeddings": "embeddings"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider's model that can answer for a public id."""

    public_id: str
    model: UpstreamModel
    adapter: BaseAdapter
    priority: int
    weight: int
    capabilities: frozenset[str]
    context_window: int | None
    strategy: str = "direct"
    options: dict[str, Any] = field(default_factory=dict)  # of the strategy

    def find_problem(self, request: ChatRequest) -> tuple[str, str] | None:
        """Return why this candidate cannot take the request, as (param, sentence), or None."""
        known = self.capabilities
        body = request.body
        if known and CAPABILITY_BY_ENDPOINT[request.endpoint] not in known:
            return "model", f"The model {self.public_id!r} does not serve /v1/{request.endpoint}."
        if request.endpoint != CHAT:
            return None
        if self.adapter.is_stream_only and (body.get("n") or 1) > 1:
            return "n", f"The model {self.public_id!r} gives one choice only."
        if self.model.tools == "none" and (body.get("tools") or body.get("functions")):
            return "tools", f"The model {self.public_id!r} cannot call tools."
        if self.model.tools == "prompt" and not all(
            tool.get("function") for tool in body.get("tools") or ()
        ):
            return "tools", f"The model {self.public_id!r} can only call functions."
        if not self.model.vision and has_images(body["messages"]):
            return "messages", f"The model {self.public_id!r} takes no images."
        return None

    def configure_model(self, request: ChatRequest) -> UpstreamModel:
        """Return the model with the thinking and search settings that this request asks for."""
        if not request.thinking and not request.search:
            return self.model
        thinking = request.thinking or self.model.thinking
        search = request.search or self.model.search
        return msgspec.structs.replace(self.model, thinking=thinking, search=search)


def make_candidate(adapter: BaseAdapter, row: dict[str, Any]) -> Candidate:
    """Make a candidate of the `MODEL_COLUMNS` of a ChatModel and its provider's adapter."""
    known = frozenset(row["capabilities"])
    if adapter.upstream.native_tools and (not known or "tools" in known):
        tools = "native"
    else:
        tools = "prompt" if settings.TOOL_SUPPORT else "none"
    model = UpstreamModel(
        name=row["upstream_name"],
        thinks=row["thinks"],
        thinking=row["thinking"],
        search=row["search"],
        tools=tools,
        vision=not known or "vision" in known,
        files="files" in known,
        options=row["options"],
    )
    return Candidate(
        public_id=row["public_id"],
        model=model,
        adapter=adapter,
        priority=row["priority"],
        weight=row["weight"],
        capabilities=known,
        context_window=row["context_window"],
    )


def make_virtual_candidates(
    rows: Iterable[Mapping[str, Any]], real_candidates: Mapping[str, list[Candidate]]
) -> dict[str, list[Candidate]]:
    """Return the candidates of each virtual model: those of its base model, with its strategy.

    A virtual model whose base is itself virtual, or has no candidates, is left out.
    """
    return {
        row["public_id"]: [
            replace(
                one, public_id=row["public_id"], strategy=row["strategy"], options=row["options"]
            )
            for one in real_candidates[row["base"]]
        ]
        for row in rows
        if row["base"] in real_candidates
    }


def has_images(messages: list[dict[str, Any]]) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


class ResolvedModel(NamedTuple):
    """The meaning of a caller's model name: a public id, and the alias's settings."""

    public_id: str
    thinking: str = ""
    search: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueRows:
    """All rows that one reading of the database returned."""

    upstreams: list[Upstream]
    models: list[dict[str, Any]]
    aliases: dict[str, ResolvedModel]
    virtuals: Sequence[Mapping[str, Any]]
    set_aside_ids: frozenset[int] = frozenset()  # ids of providers whose address is not confirmed


def set_aside_public_ids(rows: CatalogueRows) -> frozenset[str]:
    """Return the public ids, virtual ones too, of providers that are set aside."""
    own = {row["public_id"] for row in rows.models if row["provider_id"] in rows.set_aside_ids}
    return frozenset(own | {row["public_id"] for row in rows.virtuals if row["base"] in own})


class Catalogue:
    """Public ids and their candidates; `clients` are given to the adapters it makes."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._adapters: dict[int, BaseAdapter] = {}
        self._candidates: dict[str, list[Candidate]] = {}
        self._resolved_names: dict[str, ResolvedModel] = {}
        # public ids for which only providers that are set aside could answer
        self._set_aside_public_ids: frozenset[str] = frozenset()

    @staticmethod
    def read_catalogue_rows() -> CatalogueRows:
        """Read all rows from the database; run it in a database thread."""
        providers = list(Provider.objects.filter(enabled=True))
        set_aside = frozenset(provider.pk for provider in providers if provider.set_aside_reason)
        upstreams = [
            make_upstream(provider) for provider in providers if provider.pk not in set_aside
        ]
        models = list(ChatModel.objects.served().values("provider_id", *MODEL_COLUMNS))
        aliases = ModelAlias.objects.values_list("alias", "public_id", "thinking", "search")
        virtuals = list(
            VirtualModel.objects.filter(enabled=True).values(
                "public_id", "base", "strategy", "options"
            )
        )
        meanings = {name: ResolvedModel(*meant) for name, *meant in aliases}
        return CatalogueRows(upstreams, models, meanings, virtuals, set_aside)

    def apply_rows(self, rows: CatalogueRows) -> None:
        """Put the rows that were read in force.

        Adapters of unchanged providers are kept, with everything they have learnt.
        """
        adapters: dict[int, BaseAdapter] = {}
        for read in rows.upstreams:
            old = self._adapters.get(read.id)
            if old is not None and old.upstream == read:
                adapters[read.id] = old
            elif read.kind in registry.list_adapter_kinds():
                adapters[read.id] = registry.get_adapter_class(read.kind)(read, self._clients)
        candidates: dict[str, list[Candidate]] = {}
        for row in rows.models:
            adapter = adapters.get(row["provider_id"])
            if adapter is not None:
                candidates.setdefault(row["public_id"], []).append(make_candidate(adapter, row))
        for same in candidates.values():
            same.sort(key=lambda candidate: candidate.priority)
        candidates = make_virtual_candidates(rows.virtuals, candidates) | candidates
        waiting = set_aside_public_ids(rows) - candidates.keys()
        public_ids = candidates.keys() | waiting
        meanings = {
            name: meant for name, meant in rows.aliases.items() if meant.public_id in public_ids
        }
        self._resolved_names = meanings | {
            public_id: ResolvedModel(public_id) for public_id in public_ids
        }
        self._adapters = adapters
        self._candidates = candidates
        self._set_aside_public_ids = waiting

    def resolve_name(self, name: str) -> ResolvedModel | None:
        """Return the meaning of a caller's model name, or None.

        A model takes precedence over an alias of the same name.
        """
        return self._resolved_names.get(name)

    def find_candidates(
        self, public_id: str, request: ChatRequest, provider: str = ""
    ) -> list[Candidate]:
        """Return the candidates that can take the request, in the order in which to try them.

        With `provider`, only candidates of the provider of that name are returned. Raises
        ModelNotFound; InvalidRequest when no candidate can take the request; ProviderDown when all
        providers of the model are set aside.
        """
        found = self._candidates.get(public_id)
        if found and provider:
            found = [
                candidate for candidate in found if candidate.adapter.upstream.name == provider
            ]
        if not found and public_id in self._set_aside_public_ids:
            raise ProviderDown(
                "The provider of this model is set aside until its new address is confirmed."
            )
        if not found:
            raise ModelNotFound(f"The model {request.model!r} does not exist.", param="model")
        if len(found) == 1:
            usable = found
            problem = found[0].find_problem(request)
        else:
            problem = found[0].find_problem(request)
            usable = [candidate for candidate in found if candidate.find_problem(request) is None]
        if problem is not None and (len(found) == 1 or not usable):
            raise InvalidRequest(problem[1], param=problem[0], code="unsupported_parameter")
        return usable if len(usable) == 1 else sort_by_weight(usable)

    def find_context_window(self, public_id: str) -> int | None:
        """Return the tokens that all candidates of a model can take; None when none says."""
        return find_smallest_window(self._candidates.get(public_id, ()))

    def list_upstreams(self) -> Iterable[Upstream]:
        return (adapter.upstream for adapter in self._adapters.values())


def find_smallest_window(candidates: Sequence[Candidate]) -> int | None:
    """Return the tokens that every candidate can take, prompt and answer together.

    Candidates that give no context window are left out. Returns None when none gives one.
    """
    if len(candidates) == 1:
        return candidates[0].context_window or None
    windows = (candidate.context_window for candidate in candidates)
    return min((window for window in windows if window), default=None)


def sort_by_weight(candidates: list[Candidate]) -> list[Candidate]:
    """Sort candidates by priority, and within one priority at random by weight.

    The chance of each to come first is proportional to its weight (Efraimidis and Spirakis, 2006).
    """
    draw = random.random  # a fast generator is enough: no secret depends on it
    return sorted(
        candidates, key=lambda candidate: (candidate.priority, -(draw() ** (1 / candidate.weight)))
    )


def make_upstream(provider: Provider) -> Upstream:
    """Return a provider's row as a frozen value, with the settings where the row has no value.

    Raises ProviderDown when the provider is set aside, so that nobody gets an adapter that would
    call it.
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
    )
