"""Which token a request gets: its conversation's own while that is healthy; none for a guest."""

from uuid import uuid4

import pytest

from providers import registry
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from providers.protocol.request import CHAT, ChatRequest, Resume
from providers.protocol.trace import Trace
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import send_refusal
from tokens.failover import loop as failover
from tokens.pool.caller_tokens import CallerPool
from tokens.tests.site import Single

KEYS = ["sk-up-1", "sk-up-2", "sk-up-3"]


async def ask(gateway, pool=None, **fields):
    """One request past the doors; returns its attempts' outcomes."""
    request = ChatRequest("0" * 32, CHAT, "m", {"model": "m", "messages": HELLO}, **fields)
    inner, trace = gateway.inner, Trace(request)
    candidates = inner.catalogue.find_candidates("m", request)
    async for _ in failover.answer(request, candidates, pool or inner.pool, trace):
        pass
    return [attempt.outcome for attempt in trace.attempts]


def bearers(upstream):
    return [request.bearer_token for request in upstream.requests]


async def test_a_conversation_stays_with_its_token(gateway, three, upstream):
    for conversation in ("one", "two", "one", "two", "one", ""):
        await ask(gateway, conversation=conversation)
    one, two, *others = bearers(upstream)
    assert one != two
    assert others[:3] == [one, two, one]


async def test_a_conversation_whose_token_rests_goes_on_with_another_and_stays_there(
    gateway, three, upstream
):
    await ask(gateway, conversation="one")
    upstream.queue_scripts(send_refusal(429))
    assert await ask(gateway, conversation="one") == ["RateLimited", "answered"]
    await ask(gateway, conversation="one")
    first, again, other, last = bearers(upstream)
    assert first == again != other == last


async def test_the_token_of_an_upstreams_own_chat_comes_first(gateway, three, upstream):
    for token in reversed(three):
        await ask(gateway, conversation="one", resume=Resume(token.pk, "chat"))
    assert bearers(upstream) == KEYS[::-1]


async def test_a_token_that_is_gone_keeps_nobody(gateway, three, upstream):

    assert await ask(gateway, resume=Resume(uuid4(), "chat")) == ["answered"]


async def test_a_guest_shows_no_token(gateway, three, upstream):
    await run_in_thread(Provider.objects.update, mode="guest")
    await gateway.reload_rows()
    assert await ask(gateway) == ["answered"]
    assert bearers(upstream) == [""]
    await run_in_thread(Provider.objects.update, mode="user")
    await gateway.reload_rows()
    await ask(gateway)
    assert bearers(upstream)[1] in KEYS


@pytest.fixture
async def single(gateway, three, monkeypatch):
    """The provider allows one stream per token now."""
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: Single)
    await run_in_thread(Provider.objects.update, native_tools=False)
    await gateway.reload_rows()


async def test_tokens_that_a_caller_brings_are_claimed_nowhere(gateway, single, upstream):
    pool = CallerPool(gateway.inner.pool, ["sk-brought-1", "sk-brought-2"])
    upstream.queue_scripts(send_refusal(401))
    assert await ask(gateway, pool) == ["AuthRejected", "answered"]
    assert bearers(upstream) == ["sk-brought-1", "sk-brought-2"]
