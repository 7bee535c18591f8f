"""An upstream whose access tokens end: refresh tokens rotate, accounts sign in, what is void is
refused.
"""

from itertools import count
from typing import Any

from providers.protocol.request import Credential, Fresh
from providers.upstream.base_adapter import BaseAdapter
from proxysite.testing.upstream import Exchange, Gate, refuse, reply, say


class Renewing(BaseAdapter):
    """OpenAI's dialect at a site with refresh tokens and accounts."""

    refreshes = signs_in = True

    async def refresh(self, secret: str) -> Fresh:
        said = await self.call("GET", "auth/token/refresh", Credential(None, secret))
        return Fresh(said["access_token"], said["refresh_token"])

    async def sign_in(self, email: str, password: str) -> Fresh:
        said = await self.call(
            "POST", "auths/signin", Credential(None, ""), {"email": email, "password": password}
        )
        return Fresh(said["token"])


class Single(Renewing):
    one_at_a_time = True


class Site:
    """A script for `Upstream.always`. What it accepts now stands in `access`, `refresh` and
    `accounts`.
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
            await self._renew(exchange, request.bearer, self.refresh)
        elif request.path.endswith("/auths/signin"):
            await self._renew(
                exchange, request.json["email"], self.accounts, request.json["password"]
            )
        elif request.bearer not in self.access:
            await refuse(401, "The token is invalid.", "invalid_token")(exchange)
        elif request.path.endswith("/models"):
            await reply({"object": "list", "data": [{"id": "m"}]})(exchange)
        else:
            await self._talk(exchange)

    async def _renew(
        self, exchange: Exchange, who: str, known: Any, password: str | None = None
    ) -> None:
        self.renewals.append(who)
        if self.gate is not None:
            await self.gate.passed()
        if who not in known or (password is not None and known[who] != password):
            return await refuse(401, "It is void.")(exchange)
        number = next(self.number)
        self.access.add(access := f"access-{number}")
        if password is not None:
            return await reply({"token": access})(exchange)
        known.remove(who)
        known.add(refresh := f"refresh-{number}")
        return await reply({"access_token": access, "refresh_token": refresh})(exchange)

    async def _talk(self, exchange: Exchange) -> None:
        self.talking += 1
        self.most = max(self.most, self.talking)
        try:
            if self.talk is not None:
                await self.talk.passed()
            await say()(exchange)
        finally:
            self.talking -= 1
