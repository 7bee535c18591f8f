"""An upstream whose access tokens end: refresh tokens rotate, accounts sign in, what is void is
refused.
"""

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from providers import registry
from providers.protocol.request import Credential, NewCredential
from providers.upstream.base_adapter import BaseAdapter
from proxysite.testing.upstream import Exchange, Gate, answer_honestly, send_refusal, send_reply

if TYPE_CHECKING:
    from proxysite.testing.upstream_server import Upstream


class Renewing(BaseAdapter):
    """OpenAI's dialect at a site with refresh tokens and accounts."""

    can_refresh = can_sign_in = True

    async def refresh_credential(self, secret: str) -> NewCredential:
        reply = await self.fetch_json("GET", "auth/token/refresh", Credential(None, secret))
        return NewCredential(reply["access_token"], reply["refresh_token"])

    async def sign_in(self, email: str, password: str) -> NewCredential:
        reply = await self.fetch_json(
            "POST", "auths/signin", Credential(None, ""), {"email": email, "password": password}
        )
        return NewCredential(reply["token"])


class Single(Renewing):
    has_single_stream = True


class Site:
    """A script for all requests of an upstream.

    `access`, `refresh` and `accounts` are what it accepts now.
    """

    def __init__(self) -> None:
        self.number = count(1)
        self.access: set[str] = set()
        self.refresh = {"refresh-0"}
        self.accounts = {"june@example.org": "a password"}
        self.renewals: list[str] = []  # refresh tokens and addresses, as they were asked with
        self.gate: Gate | None = None  # where renewals wait
        self.talking = self.most = 0  # answers at the same time
        self.talk: Gate | None = None  # where answers wait

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path.endswith("/auth/token/refresh"):
            await self._renew(exchange, request.bearer_token, self.refresh)
        elif request.path.endswith("/auths/signin"):
            await self._renew(
                exchange, request.json["email"], self.accounts, request.json["password"]
            )
        elif request.bearer_token not in self.access:
            await send_refusal(401, "The token is invalid.", "invalid_token")(exchange)
        elif request.path.endswith("/models"):
            await send_reply({"object": "list", "data": [{"id": "m"}]})(exchange)
        else:
            await self._talk(exchange)

    async def _renew(
        self, exchange: Exchange, who: str, known: Any, password: str | None = None
    ) -> None:
        self.renewals.append(who)
        if self.gate is not None:
            await self.gate.wait_until_open()
        if who not in known or (password is not None and known[who] != password):
            return await send_refusal(401, "It is void.")(exchange)
        number = next(self.number)
        self.access.add(access := f"access-{number}")
        if password is not None:
            return await send_reply({"token": access})(exchange)
        known.remove(who)
        known.add(refresh := f"refresh-{number}")
        return await send_reply({"access_token": access, "refresh_token": refresh})(exchange)

    async def _talk(self, exchange: Exchange) -> None:
        self.talking += 1
        self.most = max(self.most, self.talking)
        try:
            if self.talk is not None:
                await self.talk.wait_until_open()
            await answer_honestly()(exchange)
        finally:
            self.talking -= 1


def open_site(
    upstream: "Upstream", monkeypatch: pytest.MonkeyPatch, adapter: type[Renewing] = Renewing
) -> Site:
    """Return a site that the upstream plays and that every provider's adapter speaks with."""
    site = Site()
    upstream.set_default_script(site)
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: adapter)
    return site
