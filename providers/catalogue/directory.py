"""The directory itself: which candidates answer for a name that a caller writes."""

from collections.abc import Mapping

from providers import registry
from providers.catalogue import catalogue_rows
from providers.catalogue.candidate import (
    Candidate,
    find_smallest_window,
    make_candidate,
    make_virtual_candidates,
    sort_by_weight,
)
from providers.catalogue.catalogue_rows import (
    CatalogueRows,
    ResolvedModel,
    set_aside_public_ids,
)
from providers.catalogue.model_entries import ModelEntry, make_model_entries
from providers.choices import Search
from providers.exceptions import InvalidRequest, ModelNotFound, ProviderDown
from providers.network.clients import Clients
from providers.protocol.request import ChatRequest
from providers.upstream.base_adapter import BaseAdapter, Upstream


class Catalogue:
    """Public ids and their candidates; `clients` are given to the adapters it makes."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._adapters: dict[int, BaseAdapter] = {}
        self._candidates: dict[str, list[Candidate]] = {}
        self._resolved_names: dict[str, ResolvedModel] = {}
        self._rows = CatalogueRows([], [], {}, [])
        self._entries: dict[str, dict[str, ModelEntry]] = {}  # by the name of the provider
        # public ids for which only providers that are set aside could answer
        self._set_aside_public_ids: frozenset[str] = frozenset()

    @staticmethod
    def read_catalogue_rows() -> CatalogueRows:
        """Read all rows from the database; run it in a database thread."""
        return catalogue_rows.read_catalogue_rows()

    def apply_rows(self, rows: CatalogueRows) -> None:
        """Put the rows that were read in force.

        Adapters of unchanged providers are kept, with everything they have learnt.
        """
        adapters = self._make_adapters(rows)
        candidates = make_candidates_by_id(rows, adapters)
        only_set_aside = set_aside_public_ids(rows) - candidates.keys()
        public_ids = candidates.keys() | only_set_aside
        resolved_names = {
            alias: meaning
            for alias, meaning in rows.aliases.items()
            if meaning.public_id in public_ids
        }
        resolved_names |= {public_id: ResolvedModel(public_id) for public_id in public_ids}
        self._resolved_names = resolved_names
        self._rows = rows
        self._entries = {}
        self._adapters = adapters
        self._candidates = candidates
        self._set_aside_public_ids = only_set_aside

    def _make_adapters(self, rows: CatalogueRows) -> dict[int, BaseAdapter]:
        """Return an adapter for each provider by its id: the present one where it is unchanged."""
        adapters = {}
        for upstream in rows.upstreams:
            adapter = self._adapters.get(upstream.id)
            if adapter is not None and adapter.upstream == upstream:
                adapters[upstream.id] = adapter
            elif upstream.kind in registry.list_adapter_kinds():
                adapter_class = registry.get_adapter_class(upstream.kind)
                adapters[upstream.id] = adapter_class(upstream, self._clients)
        return adapters

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
        candidates = self._candidates.get(public_id, [])
        if provider:
            candidates = self.list_candidates(public_id, provider)
        if not candidates and public_id in self._set_aside_public_ids:
            raise ProviderDown(
                "The provider of this model is set aside until its new address is confirmed."
            )
        if not candidates:
            raise ModelNotFound(f"The model {request.model!r} does not exist.", param="model")
        return choose_usable(candidates, request)

    def list_candidates(self, public_id: str, provider: str = "") -> list[Candidate]:
        """Return all candidates of a model, lowest priority number first; none if it has none.

        With `provider`, only those of the provider of that name.
        """
        return [
            candidate
            for candidate in self._candidates.get(public_id, ())
            if provider in ("", candidate.adapter.upstream.name)
        ]

    def find_context_window(self, public_id: str) -> int | None:
        """Return the tokens that all candidates of a model can take; None when none says."""
        return find_smallest_window(self._candidates.get(public_id, ()))

    def list_upstreams(self) -> list[Upstream]:
        """Return the providers that can be asked."""
        return [adapter.upstream for adapter in self._adapters.values()]

    def list_models(self, provider: str = "") -> dict[str, ModelEntry]:
        """Return all names that callers may write, sorted; with `provider`, of its models only.

        They are made once for each change of the rows.
        """
        entries = self._entries.get(provider)
        if entries is None:
            entries = self._entries[provider] = make_model_entries(self._rows, provider)
        return entries

    def find_server_tools(self, public_id: str) -> frozenset[str]:
        """Return the tools that the gateway runs for a model: those of its row that is first."""
        candidates = self._candidates.get(public_id)
        return candidates[0].server_tools if candidates else frozenset()

    def find_search_setting(self, model: ResolvedModel) -> str:
        """Return choices.Search of the alias, or else of the model's rows; empty: not decided.

        Of several rows one that is on decides; all of them must be off.
        """
        if model.search:
            return model.search
        settings = {row.model.search for row in self._candidates.get(model.public_id, ())}
        if Search.ON in settings:
            return Search.ON
        return Search.OFF if settings == {Search.OFF} else ""


def choose_usable(candidates: list[Candidate], request: ChatRequest) -> list[Candidate]:
    """Return the candidates that can take the request, in the order in which to try them.

    Raises InvalidRequest, with the problem of the first one, when there is none.
    """
    usable = []
    first_problem = None
    for candidate in candidates:
        problem = candidate.find_problem(request)
        if problem is None:
            usable.append(candidate)
        elif first_problem is None:
            first_problem = problem
    if first_problem is not None and not usable:
        param, sentence = first_problem
        raise InvalidRequest(sentence, param=param, code="unsupported_parameter")
    if len(usable) > 1:
        usable = sort_by_weight(usable)
    return usable


def make_candidates_by_id(
    rows: CatalogueRows, adapters: Mapping[int, BaseAdapter]
) -> dict[str, list[Candidate]]:
    """Return the candidates of each public id, virtual ones too, lowest priority number first."""
    candidates: dict[str, list[Candidate]] = {}
    for row in rows.models:
        adapter = adapters.get(row["provider_id"])
        if adapter is not None:
            candidates.setdefault(row["public_id"], []).append(make_candidate(adapter, row))
    for same_id in candidates.values():
        same_id.sort(key=lambda candidate: candidate.priority)
    return make_virtual_candidates(rows.virtuals, candidates) | candidates
