"""Tokens of which some fail, and many requests to them."""

import asyncio
from collections import Counter

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import answer_honestly


def count_requests_by_token(upstream):
    """Count how often each token was shown to the upstream."""
    return Counter(one.bearer_token for one in upstream.requests)


def answer_by_token(behaviour, otherwise=None):
    """Return a script that treats each token as `behaviour` (token -> script) says."""

    async def script(exchange):
        await behaviour.get(exchange.request.bearer_token, otherwise or answer_honestly("Hello"))(
            exchange
        )

    return script


async def send_many_requests(gateway, key, requests, in_parallel):
    """Send so many requests; return their statuses."""
    places = asyncio.Semaphore(in_parallel)

    async def one():
        async with places:
            return (await gateway.request_chat(key)).status

    return await asyncio.gather(*(one() for _ in range(requests)))


async def add_tokens(gateway, provider, *secrets):
    """Create tokens of the provider, which the gateway loads."""
    await run_in_thread(rows.create_tokens, provider, *secrets)
    await gateway.reload_rows()
