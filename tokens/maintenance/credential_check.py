"""Ask an upstream whether a credential still works; a token is renewed first if necessary."""

import asyncio
from datetime import datetime

from django.utils import timezone

from providers import vault
from providers.exceptions import (
    AuthRejected,
    Contended,
    UpstreamError,
    UpstreamTimeout,
)
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from tokens.maintenance.check_result import Problem, checks_with_model_list
from tokens.models import UpstreamToken
from tokens.querysets import AUTH_REASON
from tokens.renewal.renew_token import RenewalOrder, Renewals
from tokens.upstream_access import open_token_credential

CHECK_TIMEOUT_SECONDS = 20.0
# a restricted key may get it for the list of models that the plain check reads
FORBIDDEN_STATUS = 403


async def check_or_renew(
    adapter: BaseAdapter, token: UpstreamToken, renewals: Renewals | None
) -> Problem | None:
    """Return the problem with the token, or None; it is renewed first if necessary and possible.

    Without `renewals` nothing is renewed.
    """
    has_secret = has_valid_secret(token, timezone.now())
    problem: Problem | None = Contended("it is renewed before its next use")
    if has_secret or not token.is_renewable:
        problem = await check_secret(adapter, token)
    needs_renewal = not has_secret or isinstance(problem, AuthRejected)
    may_be_renewed = token.is_renewable and not token.is_disabled_by_person
    if renewals is None or not needs_renewal or not may_be_renewed:
        return problem
    order = RenewalOrder(
        token.pk,
        token.sealed,
        is_rejected=has_secret,
        may_be_disabled=token.reason.startswith(AUTH_REASON),
    )
    try:
        renewed = await renewals.renew_and_wait(adapter, order)
    except (UpstreamError, vault.VaultError) as error:
        return error
    token.sealed = renewed.sealed
    return await check_secret(adapter, token)


def has_valid_secret(token: UpstreamToken, now: datetime) -> bool:
    return bool(token.sealed) and (token.expires_at is None or token.expires_at > now)


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
        if error.upstream_status == FORBIDDEN_STATUS and checks_with_model_list(type(adapter)):
            return Contended("it may not list models, which says nothing about its answers")
        return error
    except TimeoutError:
        return UpstreamTimeout("The upstream took too long.")
    return None
