"""Preview which candidates and tokens a request would try, in which order, and which not and why.

Nothing is called. The preview fills a catalogue, a pool, circuit breakers and claims of its own
from the rows of the database, and lets the chooser of real requests choose from them again and
again, as if each token were refused. Facts that only a running process knows are left out: whose
turn it is in its rotation, limits of single models, and retry budgets.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from providers import registry
from providers.catalogue import Candidate, Catalogue
from providers.catalogue.catalogue_rows import CatalogueRows, ResolvedModel, read_catalogue_rows
from providers.choices import Mode
from providers.exceptions import GatewayError
from providers.models import ChatModel, Provider, VirtualModel
from providers.network.clients import Clients
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover.chooser import Choice, Chooser
from tokens.failover.tries import Tries
from tokens.models import BreakerState, State, UpstreamToken
from tokens.outcomes.breaker_sharing import BreakerHint, apply_hint, read_hints_of
from tokens.pool.pool import Pool
from tokens.pool.token_loader import TokenRow, TokenRows
from tokens.querysets import TokenQuerySet

MOST_CALLS = 20  # that a preview lists
MOST_TOKENS = 200  # of one provider that it looks at
MOST_LEFT_OUT = 20  # tokens of one provider that are listed with their reason
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """A request to preview; its `user_id` matters to breakers that some callers opened."""

    model: str
    user_id: int | None = None
    has_tools: bool = False
    has_image: bool = False
    stream: bool = True

    def build_request(self, resolved: ResolvedModel) -> ChatRequest:
        """Return a request as the gateway makes it of a caller's body."""
        content: object = "Hello"
        if self.has_image:
            content = [{"type": "image_url", "image_url": {"url": PIXEL}}]
        body: JsonObject = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
        }
        if self.has_tools:
            function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
            body["tools"] = [{"type": "function", "function": function}]
        return ChatRequest(
            uuid4().hex,
            CHAT,
            self.model,
            body,
            stream=self.stream,
            thinking=resolved.thinking,
            search=resolved.search,
        )


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call that the request would make; `token_id` is None for a call without a token."""

    provider: str
    provider_id: int
    model_name: str
    token_id: UUID | None = None
    note: str = ""  # why it comes late, or is treated with care


@dataclass(frozen=True, slots=True)
class LeftOutCandidate:
    """A model's row that would not be called; `param` and `reason` say why."""

    provider: str
    provider_id: int
    model_name: str
    reason: str


@dataclass
class RoutingPreview:
    """The calls in their order, and everything that is left out.

    `problem` is the error that the caller would get before any call.
    """

    public_id: str = ""
    strategy: str = ""
    problem: str = ""
    is_weighted: bool = False  # candidates of one priority are drawn by weight
    calls: list[PlannedCall] = field(default_factory=list)
    left_out: list[LeftOutCandidate] = field(default_factory=list)
    providers: list[int] = field(default_factory=list)  # ids of the candidates' providers


@dataclass(frozen=True, slots=True)
class PreviewRows:
    """The rows that a preview reads."""

    catalogue: CatalogueRows
    breakers: list[BreakerHint]
    tokens: list[TokenRow]
    busy_ids: list[UUID]


def preview_routing(wanted: PreviewRequest) -> RoutingPreview:
    """Return which calls the request would make. Reads rows, writes and calls nothing."""
    catalogue_rows = read_catalogue_rows()
    resolved = resolve_name(catalogue_rows, wanted.model)
    if resolved is None:
        return RoutingPreview(problem=f"The model {wanted.model!r} does not exist.")
    base_id = find_base_id(resolved.public_id)
    rows = list(ChatModel.objects.filter(public_id=base_id).select_related("provider"))
    provider_ids = [row.provider_id for row in rows]
    read = PreviewRows(
        catalogue_rows,
        read_hints_of(BreakerState.objects.filter(pk__in=provider_ids)),
        [token for row in rows for token in read_token_rows(row.provider)],
        list_busy_tokens(provider_ids),
    )
    preview = asyncio.run(choose_calls(wanted, resolved, read))
    preview.public_id = resolved.public_id
    preview.providers = provider_ids
    preview.left_out = find_left_out(rows, preview)
    return preview


def resolve_name(rows: CatalogueRows, name: str) -> ResolvedModel | None:
    """Return the meaning of a name, also if nobody serves it now; None when there is none."""
    exists = (
        ChatModel.objects.filter(public_id=name).exists()
        or VirtualModel.objects.filter(public_id=name).exists()
    )
    if exists:
        return ResolvedModel(name)
    return rows.aliases.get(name)


def find_base_id(public_id: str) -> str:
    """Return the public id of the model that is called: that below a virtual model."""
    virtual = VirtualModel.objects.filter(public_id=public_id).first()
    return virtual.base if virtual is not None else public_id


def read_token_rows(provider: Provider) -> list[TokenRow]:
    """Return the provider's tokens that are not disabled, beginning with the next in turn."""
    tokens = provider.tokens.exclude(state=State.DISABLED).order_by("created_at", "pk")
    used = tokens.exclude(last_used_at=None).order_by("-last_used_at")
    last_used = used.values_list("created_at", "pk").first()
    if last_used is None:
        return read_columns(tokens, MOST_TOKENS)
    created_at, pk = last_used
    until_last = Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lte=pk)
    rows = read_columns(tokens.exclude(until_last), MOST_TOKENS)
    return rows + read_columns(tokens.filter(until_last), MOST_TOKENS - len(rows))


def read_columns(tokens: QuerySet[UpstreamToken], most: int) -> list[TokenRow]:
    """Return the first tokens as the pool reads them, at most `most`."""
    return [TokenRow._make(row) for row in tokens.values_list(*TokenRow._fields)[:most]]


def list_busy_tokens(provider_ids: Sequence[int]) -> list[UUID]:
    """Return the tokens whose single stream is in use."""
    busy = UpstreamToken.objects.filter(provider_id__in=provider_ids, busy_until__gt=timezone.now())
    return list(busy.values_list("pk", flat=True)[:MOST_TOKENS])


# --- choose, as a request does --------------------------------------------------------------------
async def choose_calls(
    wanted: PreviewRequest, resolved: ResolvedModel, read: PreviewRows
) -> RoutingPreview:
    """Fill a catalogue and a pool with the rows, and choose call after call."""
    preview = RoutingPreview()
    request = wanted.build_request(resolved)
    async with Clients() as clients:
        catalogue = Catalogue(clients)
        catalogue.apply_rows(read.catalogue)
        pool = await fill_pool(read)
        try:
            candidates = catalogue.find_candidates(resolved.public_id, request)
        except GatewayError as error:
            preview.problem = error.message
            return preview
        preview.strategy = candidates[0].strategy
        weights = [(one.priority, one.weight) for one in candidates]
        preview.is_weighted = len({priority for priority, _ in weights}) < len(weights)
        preview.calls = list_calls(request, candidates, pool, wanted.user_id)
    return preview


async def fill_pool(read: PreviewRows) -> Pool:
    """Return a pool with these tokens, breakers and claims."""
    pool = Pool()
    pool.version_in_force = 0  # else its rotations would begin at a random token
    await pool.apply_rows(TokenRows(version=1, is_complete=True, rows=read.tokens))
    now = time.monotonic()
    for hint in read.breakers:
        apply_hint(pool.find_health_by_id(hint.provider_id).breaker, hint, now)
    pool.stream_claims.add_busy_tokens(read.busy_ids, settings.TOTAL_SECONDS)
    return pool


def list_calls(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, user_id: int | None
) -> list[PlannedCall]:
    """Return the calls of a request whose every token is refused, at most MOST_CALLS."""
    trace = Trace(request, user_id=user_id)
    tries = Tries(pool, time.perf_counter() + settings.TOTAL_SECONDS)
    chooser = Chooser(request, pool, trace, tries)
    calls: list[PlannedCall] = []
    while len(calls) < MOST_CALLS:
        choice = chooser.choose_next(candidates)
        if choice is None:
            break
        calls.append(make_planned_call(choice))
        tries.add_failed_token(choice.entry)
    return calls


def make_planned_call(choice: Choice) -> PlannedCall:
    upstream = choice.candidate.adapter.upstream
    entry = choice.entry
    if entry is None:
        note = "guest" if upstream.mode == Mode.GUEST else "no token"
        return PlannedCall(upstream.name, upstream.id, choice.candidate.model.name, note=note)
    note = ""
    if entry.state == "failing":
        note = "failing"
    elif entry.strikes:
        note = "strikes"
    return PlannedCall(upstream.name, upstream.id, choice.candidate.model.name, entry.id, note)


# --- what is left out -----------------------------------------------------------------------------
def find_left_out(rows: Sequence[ChatModel], preview: RoutingPreview) -> list[LeftOutCandidate]:
    """Return the model's rows that would not be called, each with the reason."""
    called = {(call.provider_id, call.model_name) for call in preview.calls}
    return [
        LeftOutCandidate(
            row.provider.name, row.provider_id, row.upstream_name, explain_left_out(row)
        )
        for row in rows
        if (row.provider_id, row.upstream_name) not in called
    ]


def explain_left_out(row: ChatModel) -> str:
    """Return the code of why a model's row is not called; `tokens` when nothing else is wrong."""
    provider = row.provider
    if not row.enabled:
        return "model off"
    if not provider.enabled:
        return "provider paused"
    if provider.set_aside_reason:
        return "set aside"
    if provider.kind not in registry.list_adapter_kinds():
        return "no adapter"
    breaker = BreakerState.objects.filter(pk=provider.pk, open_until__gt=timezone.now()).first()
    if breaker is not None:
        return f"breaker: {breaker.reason}"
    if provider.mode != Mode.GUEST and provider.needs_token and not has_usable_token(provider):
        return "tokens"
    return "request"


def has_usable_token(provider: Provider) -> bool:
    tokens = provider.tokens.all()
    assert isinstance(tokens, TokenQuerySet)  # noqa: S101
    return tokens.filter_usable().exists()


def list_left_out_tokens(provider_ids: Sequence[int]) -> list[UpstreamToken]:
    """Return tokens of these providers that cannot be used now, at most MOST_LEFT_OUT of each."""
    tokens: list[UpstreamToken] = []
    for provider_id in provider_ids:
        left_out = UpstreamToken.objects.filter(provider_id=provider_id).filter_unusable()
        tokens += left_out.select_related("provider").order_by()[:MOST_LEFT_OUT]
    return tokens
