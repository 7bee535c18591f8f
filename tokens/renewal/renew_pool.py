"""Renew many tokens: those that expire soon, or a provider's whole pool.

A whole pool is renewed when its tokens fail in a row, by one process at a time, and once per
REFRESH_WINDOW_SECONDS. One conditional UPDATE of the provider's `Refresh` row decides which process
it is. Its lease is renewed during the work and ends by itself if the worker is killed. Every
account signs in and every refresh token is used. A token whose renewal fails keeps its secrets. A
provider that fails itself is left alone after a few tries.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.db.models import F, Q
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.database.leases import time_from_now
from providers.exceptions import Contended, ProviderDown, ProviderError, UpstreamError
from providers.models import Provider
from providers.network.clients import Clients
from providers.upstream.base_adapter import BaseAdapter
from providers.vault import VaultError
from tokens.imports import account_import
from tokens.models import Refresh, State, UpstreamAccount, UpstreamToken
from tokens.pool.failure_counts import FailureCounts
from tokens.querysets import AUTH_REASON, REASON_LENGTH
from tokens.renewal.renew_token import RenewalOrder, Renewals
from tokens.upstream_access import build_maintenance_adapter

logger = logging.getLogger(__name__)

RENEWALS_AT_ONCE = 4  # renewals of one provider at the same time
TOKENS_PER_SLICE = 20  # tokens renewed between two renewals of the lease
LEASE_SECONDS = 300.0  # longer than a slice takes, even if each of its calls takes its full time
MAX_PROVIDER_FAILURES = 3  # the provider's own failures in a row after which it is left alone
EXPIRING_AT_ONCE = 500  # tokens that expire soon, drawn at random, so that each gets its turn


@dataclass(slots=True)
class RenewalReport:
    """The result of a renewal.

    `is_provider_down`: the provider failed MAX_PROVIDER_FAILURES times in a row and was left alone.
    """

    renewed_count: int = 0
    error_count: int = 0
    last_error: str = ""
    provider_failures_in_row: int = 0
    is_forced: bool = False  # a person ordered the renewal

    @property
    def is_provider_down(self) -> bool:
        return self.provider_failures_in_row >= MAX_PROVIDER_FAILURES

    def add_result(self, error: Exception | None) -> None:
        """Count the result of one token's renewal: an error, or None if it was renewed."""
        if error is None:
            self.renewed_count += 1
        else:
            self.error_count += 1
            self.last_error = str(error)[:REASON_LENGTH]
        if isinstance(error, ProviderError):
            self.provider_failures_in_row += 1
        else:
            self.provider_failures_in_row = 0


# --- the renewal, in a worker ---------------------------------------------------------------------
def renew_expiring_tokens() -> int:
    """Renew the tokens that expire within RENEW_BEFORE_SECONDS, and return how many were renewed.

    Tokens whose renewal was refused before are left to their next use.
    """
    account_import.create_missing_tokens(UpstreamAccount.objects.filter(enabled=True))
    soon = datetime.now(UTC) + timedelta(seconds=settings.RENEW_BEFORE_SECONDS)
    expiring = (
        UpstreamToken.objects.filter_maintained()
        .filter_renewable()
        .filter(expires_at__lte=soon)
        .exclude(state=State.DISABLED)
        .exclude(reason__startswith=AUTH_REASON)
    )
    by_provider: dict[int, list[UpstreamToken]] = {}
    for token in expiring.select_related("provider").order_by("?")[:EXPIRING_AT_ONCE]:
        by_provider.setdefault(token.provider_id, []).append(token)
    return sum(
        renew_tokens(tokens, RenewalReport()).renewed_count for tokens in by_provider.values()
    )


def renew_provider_pool(provider_id: int, *, force: bool = False) -> RenewalReport | None:
    """Renew the provider's whole pool and return the result, or None if this run must not start.

    It must not start while another process does it, or did it within the window and this run is not
    forced. Writes the `Refresh` row.
    """
    began_at = claim_run(provider_id, force=force)
    if began_at is None:
        return None
    account_import.create_missing_tokens(
        UpstreamAccount.objects.filter(provider=provider_id, enabled=True)
    )
    report = RenewalReport(is_forced=force)
    token_ids = _list_tokens_to_renew(provider_id, force=force)
    for start in range(0, len(token_ids), TOKENS_PER_SLICE):
        ids = token_ids[start : start + TOKENS_PER_SLICE]
        tokens = UpstreamToken.objects.filter(pk__in=ids).select_related("provider")
        renew_tokens(list(tokens), report)
        if report.is_provider_down or not renew_run_lease(provider_id, began_at):
            break
    release_run(provider_id, began_at, report)
    return report


def _list_tokens_to_renew(provider_id: int, *, force: bool) -> list[UUID]:
    tokens = UpstreamToken.objects.filter_maintained().filter_renewable()
    tokens = tokens.filter(provider=provider_id)
    if not force:
        # A password refused many times is not tried again without a person: accounts get locked.
        tokens = tokens.exclude(account__failures__gte=settings.MAX_TOKEN_FAILURES)
    return list(tokens.values_list("pk", flat=True))


def renew_tokens(tokens: Sequence[UpstreamToken], report: RenewalReport) -> RenewalReport:
    """Renew these tokens of one provider, RENEWALS_AT_ONCE at a time, and return the report."""
    if tokens:
        asyncio.run(_renew_concurrently(tokens, report))
    return report


async def _renew_concurrently(tokens: Sequence[UpstreamToken], report: RenewalReport) -> None:
    renewals = Renewals()
    waiting_tokens = iter(tokens)  # shared by all workers
    try:
        async with Clients() as clients:
            adapter = build_maintenance_adapter(tokens[0].provider, clients)
            workers = [
                _renew_waiting(adapter, renewals, waiting_tokens, report)
                for _ in range(RENEWALS_AT_ONCE)
            ]
            await asyncio.gather(*workers)
    except ProviderDown as error:  # the provider's address was changed after the tokens were read
        report.add_result(ProviderError(error.message))
    except KeyError:
        report.add_result(ProviderError(f"There is no adapter named {tokens[0].provider.kind!r}."))


async def _renew_waiting(
    adapter: BaseAdapter,
    renewals: Renewals,
    waiting_tokens: Iterable[UpstreamToken],
    report: RenewalReport,
) -> None:
    for token in waiting_tokens:
        order = RenewalOrder(
            token.pk,
            token.sealed,
            may_be_disabled=token.reason.startswith(AUTH_REASON),
            is_forced=report.is_forced,
        )
        try:
            await renewals.renew_and_wait(adapter, order)
        except Contended:
            continue  # another process is renewing it
        except (UpstreamError, VaultError) as error:
            report.add_result(error)
        else:
            report.add_result(None)
        if report.is_provider_down:
            return


# --- the lease of a run ---------------------------------------------------------------------------
def claim_run(provider_id: int, *, force: bool = False) -> datetime | None:
    """Claim the lease of a run and return when the run began, or None if it must not start."""
    if not Provider.objects.filter(pk=provider_id).exists():
        return None
    Refresh.objects.bulk_create([Refresh(provider_id=provider_id)], ignore_conflicts=True)
    rows = Refresh.objects.filter(provider=provider_id)
    if not force:
        window = time_from_now(-settings.REFRESH_WINDOW_SECONDS)
        rows = rows.filter(Q(began_at=None) | Q(began_at__lte=window))
    if not rows.claim_lease("running_until", LEASE_SECONDS, began_at=time_from_now()):
        return None
    return Refresh.objects.values_list("began_at", flat=True).get(provider=provider_id)


def renew_run_lease(provider_id: int, began_at: datetime) -> bool:
    """Renew the lease of a run; return whether it still had it."""
    rows = Refresh.objects.filter(provider=provider_id, began_at=began_at)
    return bool(rows.renew_lease("running_until", LEASE_SECONDS))


def release_run(provider_id: int, began_at: datetime, report: RenewalReport) -> None:
    Refresh.objects.filter(provider=provider_id, began_at=began_at).release_lease(
        "running_until",
        ended_at=Now(),
        renewed=report.renewed_count,
        runs=F("runs") + 1,
        errors=F("errors") + report.error_count,
        last_error=report.last_error,
    )


# --- ordering a renewal, in the gateway -----------------------------------------------------------
async def queue_requested_renewals(failure_counts: FailureCounts) -> None:
    """Order the requested renewals of pools until cancelled."""
    while True:
        provider_id = await failure_counts.renewal_requests.get()
        try:
            await HOUSEKEEPING.run_work(queue_pool_renewal, provider_id)
        except DatabaseError as error:
            logger.warning(
                "the renewal of a pool is not ordered while the database does not answer"
            )
            log_unless_outage(error)


def queue_pool_renewal(provider_id: int) -> None:
    """Order a renewal of the provider's pool from a worker, if there is anything to renew.

    Without a broker nothing happens; a warning is logged.
    """
    from tokens.tasks import refresh_pool

    tokens = UpstreamToken.objects.filter_renewable().filter(provider=provider_id)
    accounts = UpstreamAccount.objects.filter(provider=provider_id, enabled=True)
    if not tokens.exists() and not accounts.exists():
        return
    try:
        refresh_pool.apply_async(
            (provider_id,), retry=False, expires=settings.REFRESH_WINDOW_SECONDS
        )
    except (OperationalError, OSError) as error:
        logger.warning("the renewal of a pool cannot be ordered: %s", type(error).__name__)
