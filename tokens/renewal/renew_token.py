"""Get new secrets for a token, by its refresh token or by the sign-in of its account.

There is one renewal of a token at a time. In this process it is one task, and all waiting callers
share its result. Among processes it is a lease in the row (`renewing_until`). The process with the
lease asks the upstream, writes the answer to disk (`unsaved_secrets.py`), then into the row under
the condition that the row still has the replaced secrets. Only then are the new secrets used. A
refusal disables a token that has no valid secret left; a failing provider changes nothing. A
renewal continues when its caller leaves.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from providers import vault
from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.exceptions import (
    AuthRejected,
    Contended,
    UpstreamError,
)
from providers.protocol.request import NewCredential
from providers.upstream.base_adapter import BaseAdapter
from tokens.imports.line_parsing import Login
from tokens.models import State, UpstreamAccount, UpstreamToken
from tokens.querysets import AUTH_REASON, DISABLED_BY_PERSON, REASON_LENGTH
from tokens.renewal import unsaved_secrets
from tokens.renewal.new_secrets import request_new_secrets
from tokens.renewal.unsaved_secrets import OpenedSecrets, RenewedSecret

logger = logging.getLogger(__name__)

RETRY_LEASE_SECONDS = 0.1  # pause between two tries to get the lease
LEASES_TO_WAIT = 1.5  # how many leases long to wait for the renewal by another process
# between tries to write while the database is unavailable
WRITE_PAUSES_SECONDS = (0.1, 0.5, 2.0, 5.0)
APPLY_PAUSE_SECONDS = 60.0  # between two looks for secrets left on disk


@dataclass(frozen=True, slots=True)
class RenewalOrder:
    """An order to renew one token.

    `sealed` is the secret to replace: a row with another one was renewed already. `is_rejected`:
    the upstream rejected that secret. `may_be_disabled`: renew the token even if it is disabled.
    """

    token_id: UUID
    sealed: str
    is_rejected: bool = False
    may_be_disabled: bool = False
    is_forced: bool = False  # a person ordered the renewal


@dataclass(frozen=True, slots=True)
class RenewalLease:
    """The right to renew one token now, with the secrets and the account to do it."""

    order: RenewalOrder
    ends_at: datetime
    secrets: OpenedSecrets
    account: UpstreamAccount | None
    login: Login | None  # of the account


class Renewals:
    """The renewals that run in this process.

    `on_success` is called with each renewed secret, before the waiting callers get it.
    """

    def __init__(self, on_success: Callable[[UUID, RenewedSecret], None] | None = None) -> None:
        self._on_success = on_success
        self._running_tasks: dict[UUID, asyncio.Task[RenewedSecret]] = {}

    async def renew_and_wait(self, adapter: BaseAdapter, order: RenewalOrder) -> RenewedSecret:
        """Renew the token, or wait for its running renewal, and return the new contents of its row.

        Raises UpstreamError, VaultError.
        """
        return await asyncio.shield(self.begin_renewal(adapter, order))

    def begin_renewal(
        self, adapter: BaseAdapter, order: RenewalOrder
    ) -> "asyncio.Task[RenewedSecret]":
        """Return the running renewal of the token, started if there is none."""
        task = self._running_tasks.get(order.token_id)
        if task is None:
            task = self._running_tasks[order.token_id] = asyncio.create_task(
                renew_or_wait(adapter, order)
            )
            task.add_done_callback(partial(self._end_renewal, order.token_id))
        return task

    def _end_renewal(self, token_id: UUID, task: "asyncio.Task[RenewedSecret]") -> None:
        del self._running_tasks[token_id]
        if task.cancelled():
            return
        # Reading the exception also keeps asyncio from logging one that nobody awaited.
        error = task.exception()
        if error is None and self._on_success is not None:
            self._on_success(token_id, task.result())

    async def wait_for_renewals(self) -> None:
        """Wait for the running renewals: the secrets that an upstream gives must not be lost."""
        await asyncio.gather(*self._running_tasks.values(), return_exceptions=True)


async def apply_files_until_cancelled() -> None:
    """Apply the secrets left on disk every APPLY_PAUSE_SECONDS until cancelled."""
    while True:
        try:
            if await asyncio.to_thread(unsaved_secrets.find_secrets_files):
                await HOUSEKEEPING.run_work(unsaved_secrets.apply_secrets_files)
        except DatabaseError as error:
            logger.warning("renewed tokens wait for the database")
            log_unless_outage(error)
        await asyncio.sleep(APPLY_PAUSE_SECONDS)


async def renew_or_wait(adapter: BaseAdapter, order: RenewalOrder) -> RenewedSecret:
    """Renew the token, or wait for the process that does. Raises UpstreamError, VaultError."""
    give_up_at = time.monotonic() + settings.RENEW_LEASE_SECONDS * LEASES_TO_WAIT
    try:
        while True:
            claimed = await HOUSEKEEPING.run_work(claim_renewal_lease, order)
            if isinstance(claimed, RenewedSecret):
                return claimed
            if claimed is not None:
                return await renew_with_lease(adapter, claimed)
            if time.monotonic() >= give_up_at:
                raise Contended("The token is being renewed.")
            await asyncio.sleep(RETRY_LEASE_SECONDS)
    except DatabaseError as error:
        log_unless_outage(error)
        raise Contended("The token cannot be renewed while the database does not answer.") from None


def claim_renewal_lease(order: RenewalOrder) -> RenewalLease | RenewedSecret | None:
    """Claim the lease, or return the row's new secret, or None while another process has it.

    Applies the secrets left on disk first. Raises AuthRejected if the token is gone, disabled or
    refused; VaultError.
    """
    unsaved_secrets.apply_secrets_files(order.token_id)
    has_lease = _claim_row(order)
    row = UpstreamToken.objects.filter(pk=order.token_id).select_related("account").first()
    if row is None:
        raise AuthRejected("The token is gone.")
    if has_lease and row.renewing_until is not None:
        return _open_lease(order, row, row.renewing_until)
    if row.sealed != order.sealed:
        return RenewedSecret(row.sealed, row.expires_at)
    if row.state == State.DISABLED and not order.may_be_disabled:
        raise AuthRejected(f"The token is disabled ({row.reason}).")
    return None


def _claim_row(order: RenewalOrder) -> bool:
    """Claim the lease of the order's row, if the row still has the secret to replace."""
    rows = UpstreamToken.objects.filter(pk=order.token_id, sealed=order.sealed)
    if not order.may_be_disabled:
        rows = rows.exclude(state=State.DISABLED)
    return bool(rows.claim_lease("renewing_until", settings.RENEW_LEASE_SECONDS))


def _open_lease(order: RenewalOrder, row: UpstreamToken, ends_at: datetime) -> RenewalLease:
    """Return the lease with the opened secrets. Releases it and raises VaultError if that fails."""
    account = _find_account(order, row)
    login = None
    try:
        if account is not None:
            login = Login(account.email, vault.decrypt_secret(account.sealed, str(account.pk)))
        return RenewalLease(order, ends_at, OpenedSecrets.open_row(row), account, login)
    except vault.VaultError:
        release_renewal_lease(order.token_id, ends_at)
        raise


def _find_account(order: RenewalOrder, row: UpstreamToken) -> UpstreamAccount | None:
    """Return the row's account if it may sign in now."""
    account = row.account
    if account is None or not account.enabled:
        return None
    # A password refused many times is not tried again without a person, because accounts get
    # locked.
    was_refused_often = account.failures >= settings.MAX_TOKEN_FAILURES
    if was_refused_often and order.may_be_disabled and not order.is_forced:
        return None
    return account


async def renew_with_lease(adapter: BaseAdapter, lease: RenewalLease) -> RenewedSecret:
    """Ask the upstream for new secrets and store them, or the refusal.

    Raises UpstreamError, DatabaseError, VaultError.
    """
    token_id = lease.order.token_id
    try:
        new = await request_new_secrets(adapter, lease.secrets.refresh, lease.login)
    except AuthRejected as error:
        await HOUSEKEEPING.run_work(record_renewal_refusal, lease, error.message)
        raise
    except UpstreamError:
        await HOUSEKEEPING.run_work(release_renewal_lease, token_id, lease.ends_at)
        raise
    proof = lease.secrets.proof
    if lease.secrets.refresh:
        try:
            await asyncio.to_thread(unsaved_secrets.write_secrets_file, token_id, proof, new)
        except OSError as error:
            logger.warning("a renewed token could not be kept on disk: %s", error.strerror)
    renewed = await write_secrets_with_retries(token_id, proof, new)
    await asyncio.to_thread(unsaved_secrets.delete_secrets_file, token_id, proof)
    if renewed is None:
        raise AuthRejected("The token is gone.")
    if lease.account is not None:
        await HOUSEKEEPING.run_work(record_sign_in, lease.account)
    return renewed


async def write_secrets_with_retries(
    token_id: UUID, proof: str, new: NewCredential
) -> RenewedSecret | None:
    """Write the new secrets into the row, with retries while the database is unavailable."""
    write_secrets = partial(unsaved_secrets.write_renewed_secrets, token_id, proof, new)
    for pause in WRITE_PAUSES_SECONDS:
        try:
            return await HOUSEKEEPING.run_work(write_secrets)
        except DatabaseError:
            await asyncio.sleep(pause)
    return await HOUSEKEEPING.run_work(write_secrets)


# --- writes, in database threads ------------------------------------------------------------------
def release_renewal_lease(token_id: UUID, ends_at: datetime) -> None:
    """Release the lease that ends at `ends_at`, unless another process has one by now."""
    UpstreamToken.objects.filter(pk=token_id, renewing_until=ends_at).release_lease(
        "renewing_until"
    )


@transaction.atomic
def record_renewal_refusal(lease: RenewalLease, message: str) -> None:
    """Record that the renewal was refused, and disable the token if it has no valid secret left.

    Writes the token's reason, the account's failures, and releases the lease.
    """
    order = lease.order
    reason = f"{AUTH_REASON}: {message}"[:REASON_LENGTH]
    rows = UpstreamToken.objects.filter(pk=order.token_id, sealed=order.sealed)
    rows = rows.exclude(DISABLED_BY_PERSON)  # keep the reason that says which person disabled it
    worthless_rows = rows
    if not order.is_rejected:
        worthless_rows = rows.filter(Q(sealed="") | Q(expires_at__lte=Now()))
    # the state first: its trigger locks the topic's row, which must be locked before token rows
    worthless_rows.update(state=State.DISABLED, cause="", reason=reason)
    rows.update(reason=reason, last_failure_at=Now())
    release_renewal_lease(order.token_id, lease.ends_at)
    if lease.account is not None:
        UpstreamAccount.objects.filter(pk=lease.account.pk).update(
            failures=F("failures") + 1, reason=reason
        )


def record_sign_in(account: UpstreamAccount) -> None:
    UpstreamAccount.objects.filter(pk=account.pk).update(
        failures=0, reason="", signed_in_at=datetime.now(UTC)
    )
