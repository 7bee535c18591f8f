"""Chats that upstreams keep for nobody are deleted there (`models/farewells.py` says which).

Each run asks for one chat of each of some tokens at the same time, then for the next ones. A token
whose upstream fails is left alone for the rest of the run. Who begins a try writes that down first,
so that two runs at once never ask twice; one that fails is made again later, FAREWELL_TRIES in all.
Secrets are not renewed for it: what has ended is by the next try. With a token that is gone, or
that a person switched off, nobody asks: its chats are forgotten here.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from uuid import UUID

from django.conf import settings

from conversations.models import Farewell
from providers import registry, vault
from providers.exceptions import ModelMissing, UpstreamError
from providers.network.clients import Clients
from tokens.maintenance import token_check
from tokens.models import State, UpstreamToken
from tokens.querysets import BY_PERSON

logger = logging.getLogger(__name__)
RUN_SECONDS = 40.0  # no call begins later in a run


def say() -> int:
    """Delete what is due at its upstream, some at a time; returns how many are gone there."""
    gone = 0
    failing = set[UUID]()
    until = time.monotonic() + RUN_SECONDS
    while time.monotonic() < until and (batch := taken(failing)):
        lost, ready = sorted_out(batch)
        deleted = asyncio.run(outcomes(ready)) if ready else []
        done = {farewell.pk for (farewell, _), well in zip(ready, deleted, strict=True) if well}
        gone += len(done)
        done |= {farewell.pk for farewell in lost}
        Farewell.objects.filter(pk__in=done).delete()
        failed = [farewell for farewell in batch if farewell.pk not in done]
        give_up(failed)
        failing |= {farewell.token_id for farewell in failed}
    return gone


def taken(but: Collection[UUID]) -> list[Farewell]:
    """The next ones, each of another token, for this caller alone."""
    due = Farewell.objects.due().one_each(token_check.AT_ONCE, but)
    return [farewell for farewell in due if farewell.claim_try()]


def sorted_out(
    batch: Sequence[Farewell],
) -> tuple[list[Farewell], list[tuple[Farewell, UpstreamToken]]]:
    """Those that nobody can ask for any more, and those that can be asked for now, with what."""
    tokens = UpstreamToken.objects.filter(pk__in=[farewell.token_id for farewell in batch])
    known = set(tokens.exclude(BY_PERSON).values_list("pk", flat=True))
    working = (
        tokens.watched()
        .with_access()
        .exclude(state=State.DISABLED)
        .filter(provider__kind__in=registry.kinds())
    )
    ready = {token.pk: token for token in working.select_related("provider")}
    lost = [farewell for farewell in batch if farewell.token_id not in known]
    return lost, [
        (farewell, ready[farewell.token_id]) for farewell in batch if farewell.token_id in ready
    ]


async def outcomes(ready: Sequence[tuple[Farewell, UpstreamToken]]) -> list[bool]:
    """Which of the chats are gone now, in their order; no transaction is open while upstreams are
    asked.
    """
    async with Clients() as clients, asyncio.TaskGroup() as group:
        asked = [
            group.create_task(forget(clients, token, farewell.chat_id)) for farewell, token in ready
        ]
    return [task.result() for task in asked]


async def forget(clients: Clients, token: UpstreamToken, chat_id: str) -> bool:
    """Whether the upstream has the chat no more."""
    try:
        async with asyncio.timeout(token_check.PATIENCE_SECONDS):
            adapter = token_check.adapter(token.provider, clients)
            await adapter.forget(token_check.credential_of(token), chat_id)
    except ModelMissing:
        return True
    except (UpstreamError, vault.VaultError, TimeoutError):
        return False
    return True


def give_up(failed: Sequence[Farewell]) -> None:
    """Forget those that were tried often enough."""
    for farewell in failed:
        if farewell.tries >= settings.FAREWELL_TRIES:
            farewell.delete()
            logger.warning(
                "a chat of token %s stays at its upstream: %d tries failed",
                farewell.token_id,
                farewell.tries,
            )
