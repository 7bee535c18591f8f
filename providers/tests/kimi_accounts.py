"""Kimi's web site with several accounts, whose access tokens the site can declare void."""

from providers.tests.kimi_site import Site, jwt
from proxysite.testing.upstream import Exchange, Request, Script, send_reply

VOID_TOKEN = {"error_type": "auth.token.invalid", "message": "The token is invalid."}


class AccountSite(Site):
    """The site with any number of accounts; `accounts` has the account of each good token."""

    def __init__(self, kind: str, *accounts: str) -> None:
        super().__init__(kind)
        self.accounts: dict[str, str] = {}
        self.refresh_tokens = {jwt(name, "refresh"): name for name in accounts}
        self.asked_accounts: list[str] = []  # of each question that was answered
        self._token_number = 0

    def void_access_tokens(self) -> None:
        """Refuse all access tokens that were given out so far."""
        self.accounts.clear()

    async def __call__(self, exchange: Exchange) -> None:
        token = exchange.request.bearer_token
        is_renewal = exchange.request.path.endswith("api/auth/token/refresh")
        if not is_renewal and token not in self.accounts:
            await send_reply(VOID_TOKEN, 401)(exchange)
            return
        question_count = len(self.questions)
        await super().__call__(exchange)
        if len(self.questions) > question_count:
            self.asked_accounts.append(self.accounts[token])

    def refreshed(self, request: Request) -> Script:
        name = self.refresh_tokens.pop(request.bearer_token, "")
        if not name:
            return send_reply(VOID_TOKEN, 401)
        self.renewals += 1
        self._token_number += 1
        access_token = jwt(name, jti=self._token_number)
        refresh_token = jwt(name, "refresh", jti=self._token_number)
        self.accounts[access_token] = name
        self.refresh_tokens[refresh_token] = name
        return send_reply({"access_token": access_token, "refresh_token": refresh_token})
