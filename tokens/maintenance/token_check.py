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
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from providers import registry
from providers.choices import Mode
from providers.exceptions import BadTls, Unreachable, UpstreamError, UpstreamTimeout
from providers.network.clients import Clients
from providers.protocol.request import Credential
from tokens.maintenance.check_result import (
    OUT_OF_QUOTA,
    PROVIDER_FAILED,
    RATE_LIMITED,
    REJECTED,
    UNPROVEN,
    UNREADABLE,
    WORKS,
    CheckResult,
    Finding,
    Problem,
    classify_problem,
    explain_outcome,
    summarize_outcomes,
)
from tokens.maintenance.credential_check import (
    CHECK_TIMEOUT_SECONDS,
    check_credential,
    check_or_renew,
)
from tokens.maintenance.last_checks import record_checks
from tokens.models import State, UpstreamToken
from tokens.outcomes.cooldowns import bound_quota_seconds
from tokens.querysets import AUTH_REASON, DISABLED_BY_AUTH, TokenQuerySet
from tokens.renewal.renew_token import Renewals
from tokens.upstream_access import build_maintenance_adapter, open_token_credential

__all__ = [
    "CHECK_TIMEOUT_SECONDS",
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
ERRORS_WITHOUT_TOKEN = (Unreachable, BadTls, UpstreamTimeout)  # they do not depend on the token
# after failures for so many tokens, and no other result, the provider's other tokens are left alone
FAILURES_TO_STOP = 3


def check_upstream_tokens(
    tokens: QuerySet[UpstreamToken], *, dry_run: bool = False
) -> Iterator[Finding]:
    """Check these tokens, CHECKS_AT_ONCE at a time, and yield a finding for each.

    Writes the changes that the outcomes prove. No transaction is open while upstreams are asked.
    Tokens of providers in guest mode, or that are set aside, are left out. With `dry_run` nothing
    is written and no token is renewed.
    """
    rows = sorted(tokens.values_list("pk", "provider_id"), key=lambda row: row[1])
    token_ids = [token_id for token_id, _ in rows]
    failing = FailingProviders()
    for start in range(0, len(token_ids), CHECKS_AT_ONCE):
        batch = load_checkable_tokens(token_ids[start : start + CHECKS_AT_ONCE])
        asked_tokens = [token for token in batch if token.provider_id not in failing.problems]
        results = asyncio.run(ask_providers(asked_tokens, wants_renewal=not dry_run))
        if not dry_run:
            record_checks(asked_tokens, results)
        for token in batch:
            result = results.get(token.pk)
            if result is None:
                reason = f"not asked: {failing.problems[token.provider_id]}"
                yield Finding(token, PROVIDER_FAILED, reason)
                continue
            failing.record_result(token.provider_id, result)
            change = "" if dry_run else write_outcome(token, result.outcome, result.problem)
            reason = explain_outcome(token, result)
            yield Finding(token, result.outcome, reason, change, result.milliseconds)


def load_checkable_tokens(token_ids: Sequence[UUID]) -> list[UpstreamToken]:
    """Return those of the tokens that can be checked, with their providers."""
    rows = UpstreamToken.objects.filter(
        pk__in=token_ids, provider__kind__in=registry.list_adapter_kinds()
    )
    tokens = rows.exclude(provider__mode=Mode.GUEST).select_related("provider")
    return [token for token in tokens if not token.provider.set_aside_reason]


class FailingProviders:
    """The providers that fail whatever the token; `problems` has the error of each."""

    def __init__(self) -> None:
        self.problems: dict[int, Problem] = {}
        self._failures: Counter[int] = Counter()
        self._answering_ids: set[int] = set()

    def record_result(self, provider_id: int, result: CheckResult) -> None:
        """Count the result of one token's check."""
        problem = result.problem
        if problem is None or result.outcome not in (PROVIDER_FAILED, RATE_LIMITED):
            self._answering_ids.add(provider_id)
            self.problems.pop(provider_id, None)
            return
        self._failures[provider_id] += 1
        has_failed_often = self._failures[provider_id] >= FAILURES_TO_STOP
        is_failing = has_failed_often or isinstance(problem, ERRORS_WITHOUT_TOKEN)
        if is_failing and provider_id not in self._answering_ids:
            self.problems[provider_id] = problem


# --- writing --------------------------------------------------------------------------------------
def write_outcome(token: UpstreamToken, outcome: str, problem: Problem | None) -> str:
    """Write the state that the outcome proves, and return a description of the change.

    A row whose secret was changed by someone else meanwhile is left alone.
    """
    row = UpstreamToken.objects.filter(pk=token.pk, sealed=token.sealed)
    if outcome == WORKS:
        return _enable_working_token(row, token)
    if outcome == REJECTED:
        return _add_strike(row, problem)
    if outcome == OUT_OF_QUOTA and isinstance(problem, UpstreamError):
        return _mark_exhausted(row, problem)
    if outcome == UNREADABLE and row.mark_unreadable():
        return "disabled until it can be opened"
    return ""


def _enable_working_token(row: TokenQuerySet, token: UpstreamToken) -> str:
    if row.filter(DISABLED_BY_AUTH).reset_state():
        return "enabled again"
    if token.is_disabled_by_person:
        return "a person switched it off, so it stays off"
    return ""


def _add_strike(row: TokenQuerySet, problem: Problem | None) -> str:
    limit = settings.MAX_TOKEN_FAILURES
    if not row.add_strike(limit, f"{AUTH_REASON}: {problem}"):
        return ""
    strikes, state = row.values_list("strikes", "state").first() or (0, "")
    if state == State.DISABLED:
        return "disabled"
    return f"strike {strikes} of {limit}"


def _mark_exhausted(row: TokenQuerySet, problem: UpstreamError) -> str:
    seconds = bound_quota_seconds(problem.retry_after_seconds or settings.QUOTA_REST_SECONDS)
    until = timezone.now() + timedelta(seconds=seconds)
    if not row.mark_exhausted(until, f"quota: {problem}"):
        return ""
    return "exhausted for a time"


# --- asking ---------------------------------------------------------------------------------------
async def ask_providers(
    tokens: Sequence[UpstreamToken], *, wants_renewal: bool
) -> dict[UUID, CheckResult]:
    """Return the result for each token by its id; `wants_renewal`: renew expired ones."""
    renewals = Renewals() if wants_renewal else None
    by_provider: dict[int, list[UpstreamToken]] = {}
    for token in tokens:
        by_provider.setdefault(token.provider_id, []).append(token)
    async with Clients() as clients, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(ask_provider(provider_tokens, clients, renewals))
            for provider_tokens in by_provider.values()
        ]
    results: dict[UUID, CheckResult] = {}
    for task in tasks:
        results |= task.result()
    return results


async def ask_provider(
    tokens: Sequence[UpstreamToken], clients: Clients, renewals: Renewals | None
) -> dict[UUID, CheckResult]:
    """Ask one provider about its tokens, unless it cannot be reached at all."""
    adapter = build_maintenance_adapter(tokens[0].provider, clients)
    problem_without_token = await check_credential(adapter, Credential(None, ""))
    if isinstance(problem_without_token, ERRORS_WITHOUT_TOKEN):
        failure = CheckResult(PROVIDER_FAILED, problem_without_token)
        return {token.pk: failure for token in tokens}
    needs_no_token = problem_without_token is None

    async def time_check(token: UpstreamToken) -> CheckResult:
        started_at = time.perf_counter()
        problem = await check_or_renew(adapter, token, renewals)
        milliseconds = round((time.perf_counter() - started_at) * 1000)
        result = classify_problem(problem, needs_no_token=needs_no_token)
        return result._replace(milliseconds=milliseconds)

    results = await asyncio.gather(*(time_check(token) for token in tokens))
    return {token.pk: result for token, result in zip(tokens, results, strict=True)}
