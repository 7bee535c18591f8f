"""Ask an upstream for new secrets of a token, by its refresh token or by an account's sign-in."""

import asyncio

from django.conf import settings

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    Rejected,
    UpstreamTimeout,
)
from providers.protocol.request import NewCredential
from providers.upstream.base_adapter import BaseAdapter
from providers.wire import jwt
from tokens.imports.line_parsing import Login

LEASE_SHARE = 2 / 3  # the call ends before the lease, or another process would ask as well


async def request_new_secrets(
    adapter: BaseAdapter, refresh_token: str, login: Login | None
) -> NewCredential:
    """Return new secrets, by the refresh token while it is valid, else by the sign-in.

    `refresh_token` of the result is the one that is valid from now on. Raises UpstreamError;
    AuthRejected if the upstream refuses or there is no way to renew the token.
    """
    try:
        async with asyncio.timeout(settings.RENEW_LEASE_SECONDS * LEASE_SHARE):
            return await _try_both_ways(adapter, refresh_token, login)
    except TimeoutError:
        raise UpstreamTimeout("The upstream took too long to renew a token.") from None
    except ModelMissing as error:
        raise BadResponse(f"The upstream has no endpoint for that: {error.message}") from None


async def _try_both_ways(
    adapter: BaseAdapter, refresh_token: str, login: Login | None
) -> NewCredential:
    refusal = AuthRejected("There is no way to renew it.")
    if refresh_token and adapter.can_refresh:
        try:
            renewed = await adapter.refresh_credential(refresh_token)
            return complete_new_secrets(renewed, refresh_token)
        except (AuthRejected, Rejected) as error:
            refusal = AuthRejected(f"Its renewal was refused: {error.message}")
    if login is not None and adapter.can_sign_in:
        try:
            renewed = await adapter.sign_in(login.email, login.password)
            return complete_new_secrets(renewed)
        except (AuthRejected, Rejected) as error:
            refusal = AuthRejected(f"Its account was refused: {error.message}")
    raise refusal


def complete_new_secrets(renewed: NewCredential, old_refresh_token: str = "") -> NewCredential:
    """Return the secrets with the old refresh token if no new one came, and with an expiry.

    The expiry is the upstream's, or else the one that a JWT states.
    """
    return NewCredential(
        renewed.secret,
        renewed.refresh_token or old_refresh_token,
        renewed.expires_at or jwt.read_expiry(renewed.secret),
    )
