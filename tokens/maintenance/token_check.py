"""Ask the upstreams whether tokens still work, and apply the results.

works         a token that strikes or checks disabled is enabled, one that a person disabled is not
rejected      a renewable token is renewed and checked once more; any other gets a strike
out of quota  the token is exhausted for a time
unreadable    the token is disabled until its secret can be opened again
others        rate limited, provider failed, unproven: nothing is changed

An upstream that answers the same question without any token proves nothing about one: its tokens
are "unproven". When a provider cannot be reached, or fails or limits all tokens checked so far, its
other tokens are not checked.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from providers import catalogue, registry, vault
from providers.choices import Mode
from providers.exceptions import (
    AuthRejected,
    BadTls,
    Contended,
    QuotaExhausted,
    RateLimited,
    Unreachable,
    UpstreamError,
    UpstreamTimeout,
)
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from tokens.models import State, UpstreamToken
from tokens.querysets import AUTH_REASON, DISABLED_BY_AUTH
from tokens.renewal.renew_token import RenewalOrder, Renewals

__all__ = [
    "AUTH_REASON",
    "REJECTED",
    "UNPROVEN",
    "WORKS",
    "Finding",
    "build_maintenance_adapter",
    "check_upstream_tokens",
    "open_token_credential",
    "summarize_outcomes",
]

CHECKS_AT_ONCE = 25  # upstream calls at the same time
CHECK_TIMEOUT_SECONDS = 20.0
FORBIDDEN_STATUS = (
    403  # a restricted key may get it for the list of models that the plain check reads
)

WORKS = "works"
REJECTED = "rejected"
UNPROVEN = "unproven"
RATE_LIMITED = "rate limited"
OUT_OF_QUOTA = "out of quota"
PROVIDER_FAILED = "provider failed"
UNREADABLE = "unreadable"
OUTCOME_OF_ERROR = {
    RateLimited: RATE_LIMITED,
    QuotaExhausted: OUT_OF_QUOTA,
    vault.VaultError: UNREADABLE,
    Contended: UNPROVEN,
    UpstreamError: PROVIDER_FAILED,
}
OUTCOME_WORDS = {
    UNPROVEN: "could not be proved"
}  # clearer words for people than the outcome's name
OPEN_LIST_REASON = "the upstream's model list needs no token"
OPEN_CHECK_REASON = "the upstream answers the same question without a token"
ERRORS_WITHOUT_TOKEN = (
    Unreachable,
    BadTls,
    UpstreamTimeout,
)  # errors that do not depend on the token
FAILURES_TO_STOP = (
    3  # after failures for so many tokens, and no other result, the provider's rest is left alone
)
Problem = UpstreamError | vault.VaultError
CheckOutcome = tuple[str, Problem | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one token's check.

    `reason` is empty when the token works, `change` when nothing was written.
    """

    token: UpstreamToken
    outcome: str
    reason: str = ""
    change: str = ""

    def __str__(self) -> str:
        """Describe the result in plain words: `rejected: The key is void. (disabled)`."""
        text = OUTCOME_WORDS.get(self.outcome, self.outcome)
        if self.reason:
            text += f": {self.reason}"
        if self.change:
            text += f" ({self.change})"
        return text


def summarize_outcomes(outcomes: Mapping[str, int]) -> str:
    """Return a summary such as `3 work, 1 rejected`; empty when there are no outcomes."""
    ordered = sorted(outcomes.items(), key=lambda item: -item[1])
    words = (
        (count, "work" if name == WORKS and count != 1 else OUTCOME_WORDS.get(name, name))
        for name, count in ordered
    )
    return ", ".join(f"{count} {word}" for count, word in words)


def check_upstream_tokens(
    tokens: QuerySet[UpstreamToken], *, dry_run: bool = False
) -> Iterator[Finding]:
    """Check these tokens, AT_ONCE at a time, apply the results, and yield a finding for each.

    No transaction is open while upstreams are asked. Tokens of providers in guest mode, or that are
    set aside, are left out. With `dry_run` nothing is written and no token is renewed.
    """
    ids = [pk for pk, _ in sorted(tokens.values_list("pk", "provider_id"), key=lambda row: row[1])]
    failing = FailingProviders()
    for start in range(0, len(ids), CHECKS_AT_ONCE):
        rows = UpstreamToken.objects.filter(
            pk__in=ids[start : start + CHECKS_AT_ONCE],
            provider__kind__in=registry.list_adapter_kinds(),
        )
        there = rows.exclude(provider__mode=Mode.GUEST).select_related("provider")
        batch = [token for token in there if not token.provider.set_aside_reason]
        asked = [token for token in batch if token.provider_id not in failing.problems]
        found = dict(
            zip(asked, asyncio.run(ask_providers(asked, wants_renewal=not dry_run)), strict=True)
        )
        for token in batch:
            if token not in found:
                yield Finding(
                    token, PROVIDER_FAILED, f"not asked: {failing.problems[token.provider_id]}"
                )
                continue
            outcome, problem = found[token]
            failing.record_outcome(token.provider_id, outcome, problem)
            change = "" if dry_run else write_outcome(token, outcome, problem)
            yield Finding(token, outcome, explain_outcome(token, outcome, problem), change)


class FailingProviders:
    """The providers that fail whatever the token; `problems` has the error of each."""

    def __init__(self) -> None:
        self.problems: dict[int, Problem] = {}
        self._failures: Counter[int] = Counter()
        self._answering_ids: set[int] = set()

    def record_outcome(self, provider_id: int, outcome: str, problem: Problem | None) -> None:
        """Count one token's outcome."""
        if problem is None or outcome not in (PROVIDER_FAILED, RATE_LIMITED):
            self._answering_ids.add(provider_id)
            self.problems.pop(provider_id, None)
            return
        self._failures[provider_id] += 1
        many = self._failures[provider_id] >= FAILURES_TO_STOP or isinstance(
            problem, ERRORS_WITHOUT_TOKEN
        )
        if many and provider_id not in self._answering_ids:
            self.problems[provider_id] = problem


def explain_outcome(token: UpstreamToken, outcome: str, problem: Problem | None) -> str:
    """Return the reason for the outcome; empty when the token works."""
    if problem is None and outcome == UNPROVEN:
        plain = (
            registry.get_adapter_class(token.provider.kind).probe_credential
            is BaseAdapter.probe_credential
        )
        return OPEN_LIST_REASON if plain else OPEN_CHECK_REASON
    return str(problem or "")


def write_outcome(token: UpstreamToken, outcome: str, problem: Problem | None) -> str:
    """Write the state that the outcome proves, and return a description of the change.

    A row whose secret was changed by someone else meanwhile is left alone.
    """
    row = UpstreamToken.objects.filter(pk=token.pk, sealed=token.sealed)
    if outcome == WORKS:
        if row.filter(DISABLED_BY_AUTH).reset_state():
            return "enabled again"
        return "a person switched it off, so it stays off" if token.is_disabled_by_person else ""
    if outcome == REJECTED and row.add_strike(
        settings.MAX_TOKEN_FAILURES, f"{AUTH_REASON}: {problem}"
    ):
        strikes, state = row.values_list("strikes", "state").first() or (0, "")
        return (
            "disabled"
            if state == State.DISABLED
            else f"strike {strikes} of {settings.MAX_TOKEN_FAILURES}"
        )
    if outcome == OUT_OF_QUOTA and isinstance(problem, UpstreamError):
        seconds = problem.retry_after_seconds or settings.QUOTA_REST_SECONDS
        seconds = min(
            max(seconds, 1.0), max(settings.QUOTA_REST_SECONDS, settings.MAX_REST_SECONDS)
        )
        until = timezone.now() + timedelta(seconds=seconds)
        return "exhausted for a time" if row.mark_exhausted(until, f"quota: {problem}") else ""
    if outcome == UNREADABLE and row.mark_unreadable():
        return "disabled until it can be opened"
    return ""


async def ask_providers(
    tokens: Sequence[UpstreamToken], *, wants_renewal: bool
) -> list[CheckOutcome]:
    """Return the outcome for each token, in order; `wants_renewal`: renew expired ones."""
    renewals = Renewals() if wants_renewal else None
    by_provider: dict[int, list[UpstreamToken]] = {}
    for token in tokens:
        by_provider.setdefault(token.provider_id, []).append(token)
    async with Clients() as clients, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(ask_provider(same, clients, renewals))
            for same in by_provider.values()
        ]
    found = {token_id: answer for task in tasks for token_id, answer in task.result().items()}
    return [found[token.pk] for token in tokens]


async def ask_provider(
    tokens: Sequence[UpstreamToken], clients: Clients, renewals: Renewals | None
) -> dict[UUID, CheckOutcome]:
    """Ask one provider about its tokens, unless it cannot be reached at all."""
    asked = build_maintenance_adapter(tokens[0].provider, clients)
    without = await check_credential(asked, Credential(None, ""))
    if isinstance(without, ERRORS_WITHOUT_TOKEN):
        return {token.pk: (PROVIDER_FAILED, without) for token in tokens}
    problems = await asyncio.gather(*(check_or_renew(asked, token, renewals) for token in tokens))
    is_open = without is None
    return {
        token.pk: classify_problem(problem, is_open)
        for token, problem in zip(tokens, problems, strict=True)
    }


def classify_problem(problem: Problem | None, needs_no_token: bool) -> CheckOutcome:
    if problem is None:
        return (UNPROVEN if needs_no_token else WORKS), None
    if isinstance(problem, AuthRejected):
        return REJECTED, problem
    return next(
        word for kind, word in OUTCOME_OF_ERROR.items() if isinstance(problem, kind)
    ), problem


def build_maintenance_adapter(provider: Provider, clients: Clients) -> BaseAdapter:
    """Return the provider's adapter for use outside the gateway.

    Raises KeyError if there is none of that kind; ProviderDown if the provider is set aside.
    """
    return registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


async def check_or_renew(
    adapter: BaseAdapter, token: UpstreamToken, renewals: Renewals | None
) -> Problem | None:
    """Return the problem with the token, or None; it is renewed first if necessary and possible."""
    lasts = bool(token.sealed) and (token.expires_at is None or token.expires_at > timezone.now())
    problem: Problem | None = Contended("it is renewed before its next use")
    if lasts or not token.is_renewable:
        problem = await check_secret(adapter, token)
    wanted = not lasts or isinstance(problem, AuthRejected)
    if not token.is_renewable or renewals is None or not wanted or token.is_disabled_by_person:
        return problem
    order = RenewalOrder(
        token.pk,
        token.sealed,
        is_rejected=lasts,
        may_be_disabled=token.reason.startswith(AUTH_REASON),
    )
    try:
        token.sealed = (await renewals.renew_and_wait(adapter, order)).sealed
    except (UpstreamError, vault.VaultError) as error:
        return error
    return await check_secret(adapter, token)


async def check_secret(adapter: BaseAdapter, token: UpstreamToken) -> Problem | None:
    try:
        credential = open_token_credential(token)
    except vault.VaultError as error:
        return error
    return await check_credential(adapter, credential)


async def check_credential(adapter: BaseAdapter, credential: Credential) -> Problem | None:
    """Return the problem with the credential or its upstream, or None."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await adapter.probe_credential(credential)
    except UpstreamError as error:
        if (
            error.upstream_status == FORBIDDEN_STATUS
            and type(adapter).probe_credential is BaseAdapter.probe_credential
        ):
            return Contended("it may not list models, which says nothing about its answers")
        return error
    except TimeoutError:
        return UpstreamTimeout("The upstream took too long.")
    return None


def open_token_credential(token: UpstreamToken) -> Credential:
    """Open the token's secret. Raises VaultError if that is not possible."""
    return Credential(token.pk, vault.decrypt_secret(token.sealed, str(token.pk)))
