"""Delete chats that upstreams keep and no conversation needs (`models/farewells.py`).

Each run deletes one chat of each of some tokens at the same time, then the next ones. A token whose
upstream fails is skipped for the rest of the run. An attempt is counted before the call, so two
runs never delete the same chat. A failed attempt is retried later, FAREWELL_TRIES times in all.
Expired tokens are not renewed here; other code will have renewed them by the next attempt. Chats
whose token was deleted, or disabled by a person, are dropped.
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
RUN_SECONDS = 40.0  # no call of a run begins later


def say() -> int:
    """Delete due chats at their upstreams and their rows; return how many chats are gone there."""
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
    """Claim the next due chats, each of another token; writes the attempt."""
    due = Farewell.objects.due().one_each(token_check.AT_ONCE, but)
    return [farewell for farewell in due if farewell.claim_try()]


def sorted_out(
    batch: Sequence[Farewell],
) -> tuple[list[Farewell], list[tuple[Farewell, UpstreamToken]]]:
    """Return the chats that can never be deleted, and those that can be deleted now.

    The first ones have a token that is gone or disabled by a person. The second ones come with
    their token. All others wait for a later run.
    """
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
    """Delete the chats at their upstreams; return for each whether it is gone.

    No transaction is open during the calls.
    """
    async with Clients() as clients, asyncio.TaskGroup() as group:
        asked = [
            group.create_task(forget(clients, token, farewell.chat_id)) for farewell, token in ready
        ]
    return [task.result() for task in asked]


async def forget(clients: Clients, token: UpstreamToken, chat_id: str) -> bool:
    """Delete a chat at its upstream; return whether it is gone there."""
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
    """Delete the rows of chats that failed FAREWELL_TRIES times."""
    for farewell in failed:
        if farewell.tries >= settings.FAREWELL_TRIES:
            farewell.delete()
            logger.warning(
                "a chat of token %s stays at its upstream: %d tries failed",
                farewell.token_id,
                farewell.tries,
            )
