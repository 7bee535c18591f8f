"""Candidates: the providers' models that can answer for a public id, and their order."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from django.conf import settings

from providers.choices import NO_SERVER_TOOLS, Search, ThinkingFormat
from providers.dialects import find_dialect
from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import RELAYED_CAPABILITIES
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter

CAPABILITY_BY_ENDPOINT = {
    CHAT: "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    **RELAYED_CAPABILITIES,
}


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
    options: JsonObject = field(default_factory=dict)  # of the strategy
    long_prompts: str = ""  # choices.LongPrompts
    server_tools: frozenset[str] = frozenset()  # choices.ServerTool

    @property
    def has_native_tools(self) -> bool:
        """Return whether the upstream, by its row and its dialect, has tools of its own."""
        return self.adapter.upstream.native_tools and self.model.dialect.native_tools

    def find_problem(self, request: ChatRequest) -> tuple[str, str] | None:
        """Return why this candidate cannot take the request, as (param, sentence), or None."""
        capability = CAPABILITY_BY_ENDPOINT[request.endpoint]
        body = request.body
        if self.capabilities and capability not in self.capabilities:
            return "model", f"The model {self.public_id!r} does not serve /v1/{request.endpoint}."
        if request.endpoint in RELAYED_CAPABILITIES and not self.adapter.relays_bodies:
            kind = self.adapter.label
            return "model", (
                f"The model {self.public_id!r} cannot serve /v1/{request.endpoint}: its provider "
                f"({kind}) has no such endpoint."
            )
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
        return self.adapter.find_problem(body, self.model)

    def configure_model(self, request: ChatRequest) -> UpstreamModel:
        """Return the model with the thinking and search settings that this request asks for.

        Of the search decides the alias, then the row; what neither decides, the body may.
        """
        if not (request.thinking or request.search or request.wants_search):
            return self.model
        thinking = request.thinking or self.model.thinking
        search = request.search or self.model.search or (request.wants_search and Search.ON) or ""
        return msgspec.structs.replace(self.model, thinking=thinking, search=search)


def make_candidate(adapter: BaseAdapter, row: JsonObject) -> Candidate:
    """Make a candidate of the `MODEL_COLUMNS` of a ChatModel and its provider's adapter."""
    capabilities = frozenset(row["capabilities"] or adapter.capabilities)  # empty: not known
    upstream = adapter.upstream
    dialect = find_dialect(
        upstream.dialect or adapter.profile_name,
        upstream.base_url,
        row["upstream_name"],
        upstream.dialect_changes,
    )
    has_native_tools = not capabilities or "tools" in capabilities
    tools = "none"
    if upstream.native_tools and dialect.native_tools and has_native_tools:
        tools = "native"
    elif settings.TOOL_SUPPORT:
        tools = "prompt"
    model = UpstreamModel(
        name=row["upstream_name"],
        thinking_format=choose_thinking_format(row["thinking_format"], dialect),
        thinking=row["thinking"],
        search=row["search"],
        tools=tools,
        vision=not capabilities or "vision" in capabilities,
        files="files" in capabilities,
        options=row["options"],
        dialect=dialect,
    )
    return Candidate(
        public_id=row["public_id"],
        model=model,
        adapter=adapter,
        priority=row["priority"],
        weight=row["weight"],
        capabilities=capabilities,
        context_window=row["context_window"],
        long_prompts=row["long_prompts"],
        server_tools=frozenset(row["server_tools"] or settings.SERVER_TOOLS) - {NO_SERVER_TOOLS},
    )


def choose_thinking_format(row_format: str, dialect: Dialect) -> str:
    """Return where the model puts its thinking: as its row says, or else as its dialect does."""
    if row_format == ThinkingFormat.SEPARATE and dialect.thinking_format:
        return dialect.thinking_format
    return row_format


def make_virtual_candidates(
    rows: Iterable[JsonObject], real_candidates: Mapping[str, list[Candidate]]
) -> dict[str, list[Candidate]]:
    """Return the candidates of each virtual model: those of its base model, with its strategy.

    A virtual model whose base is itself virtual, or has no candidates, is left out.
    """
    virtual_candidates = {}
    for row in rows:
        fields = {name: row[name] for name in ("public_id", "strategy", "options")}
        base_candidates = real_candidates.get(row["base"])
        if base_candidates:
            virtual_candidates[row["public_id"]] = [
                replace(candidate, **fields) for candidate in base_candidates
            ]
    return virtual_candidates


def has_images(messages: list[JsonObject]) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


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
