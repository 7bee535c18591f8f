"""The HTTP clients of one event loop, with which adapters call their upstreams."""

from functools import cache
from types import TracebackType

from providers.network.api_client import ApiClient
from providers.network.http_client import RelayClient
from providers.network.tls import make_tls_context

IDLE_SECONDS = 30.0


class Clients:
    """A pair of clients: `relay` for answers that callers wait for, `api` for every other call.

    The gateway has one pair for as long as it runs. A task or command makes its own: `async with
    Clients() as clients:`.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        get_tls = cache(make_tls_context)  # reading the certificate authorities takes milliseconds
        self.relay = RelayClient(idle_seconds, get_tls)
        self.api = ApiClient(idle_seconds, get_tls)

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        self.relay.close()
        await self.api.close()
