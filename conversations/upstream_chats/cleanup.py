"""Delete chats that upstreams keep and no conversation needs (`models/chat_deletions.py`).

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

from conversations.models import UpstreamChatDeletion
from providers import registry, vault
from providers.exceptions import ModelMissing, UpstreamError
from providers.network.clients import Clients
from tokens.maintenance import token_check
from tokens.models import State, UpstreamToken
from tokens.querysets import DISABLED_BY_PERSON

logger = logging.getLogger(__name__)
ReadyDeletion = tuple[UpstreamChatDeletion, UpstreamToken]  # with the token that owns the chat
RUN_SECONDS = 40.0  # no call of a run begins later


def delete_due_chats() -> int:
    """Delete due chats at their upstreams and their rows; return how many chats are gone there."""
    deleted_count = 0
    failing_token_ids = set[UUID]()
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline and (batch := claim_due_chats(failing_token_ids)):
        lost, ready = split_lost_and_ready(batch)
        deleted = delete_ready_chats(ready)
        deleted_count += len(deleted)
        finished_ids = {deletion.pk for deletion in [*lost, *deleted]}
        UpstreamChatDeletion.objects.filter(pk__in=finished_ids).delete()
        failed = [deletion for deletion in batch if deletion.pk not in finished_ids]
        delete_failed_rows(failed)
        failing_token_ids |= {deletion.token_id for deletion in failed}
    return deleted_count


def claim_due_chats(excluded_token_ids: Collection[UUID]) -> list[UpstreamChatDeletion]:
    """Claim the next due chats, each of another token; writes the attempt."""
    due_deletions = UpstreamChatDeletion.objects.filter_due().filter_first_of_each_token(
        token_check.CHECKS_AT_ONCE, excluded_token_ids
    )
    return [deletion for deletion in due_deletions if deletion.claim_try()]


def split_lost_and_ready(
    batch: Sequence[UpstreamChatDeletion],
) -> tuple[list[UpstreamChatDeletion], list[ReadyDeletion]]:
    """Return the chats that can never be deleted, and those that can be deleted now.

    The first ones have a token that is gone or disabled by a person. The second ones come with
    their token. All others wait for a later run.
    """
    tokens = UpstreamToken.objects.filter(pk__in=[deletion.token_id for deletion in batch])
    usable_ids = set(tokens.exclude(DISABLED_BY_PERSON).values_list("pk", flat=True))
    ready_tokens = (
        tokens.filter_maintained()
        .filter_with_access()
        .exclude(state=State.DISABLED)
        .filter(provider__kind__in=registry.list_adapter_kinds())
    )
    token_by_id = {token.pk: token for token in ready_tokens.select_related("provider")}
    lost = [deletion for deletion in batch if deletion.token_id not in usable_ids]
    ready = [
        (deletion, token_by_id[deletion.token_id])
        for deletion in batch
        if deletion.token_id in token_by_id
    ]
    return lost, ready


def delete_ready_chats(
    ready: Sequence[tuple[UpstreamChatDeletion, UpstreamToken]],
) -> list[UpstreamChatDeletion]:
    """Delete chats at their upstreams, each with its token; return those that are gone there."""
    if not ready:
        return []
    results = asyncio.run(delete_upstream_chats(ready))
    return [
        deletion for (deletion, _), is_deleted in zip(ready, results, strict=True) if is_deleted
    ]


async def delete_upstream_chats(
    ready: Sequence[tuple[UpstreamChatDeletion, UpstreamToken]],
) -> list[bool]:
    """Delete the chats at their upstreams; return for each whether it is gone.

    No transaction is open during the calls.
    """
    async with Clients() as clients, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(delete_upstream_chat(clients, token, deletion.chat_id))
            for deletion, token in ready
        ]
    return [task.result() for task in tasks]


async def delete_upstream_chat(clients: Clients, token: UpstreamToken, chat_id: str) -> bool:
    """Delete a chat at its upstream; return whether it is gone there."""
    try:
        async with asyncio.timeout(token_check.CHECK_TIMEOUT_SECONDS):
            adapter = token_check.build_maintenance_adapter(token.provider, clients)
            await adapter.delete_chat(token_check.open_token_credential(token), chat_id)
    except ModelMissing:
        return True
    except (UpstreamError, vault.VaultError, TimeoutError):
        return False
    return True


def delete_failed_rows(failed: Sequence[UpstreamChatDeletion]) -> None:
    """Delete the rows of chats that failed FAREWELL_TRIES times."""
    for deletion in failed:
        if deletion.tries >= settings.FAREWELL_TRIES:
            deletion.delete()
            logger.warning(
                "a chat of token %s stays at its upstream: %d tries failed",
                deletion.token_id,
                deletion.tries,
            )
