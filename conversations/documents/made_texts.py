"""Texts that take long to make, such as summaries: each is made once and stored as a document."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from django.conf import settings

from conversations.documents.document_rows import DocumentKey, create_or_claim_document
from conversations.documents.document_store import (
    DocumentLease,
    SourceText,
    read_document_text,
    release_document,
    renew_claim,
    write_passages,
)
from conversations.documents.index_worker import Splitting
from conversations.documents.ingest import LONGEST_PAUSE_SECONDS, TEXT_THREADS
from conversations.models import DocumentState
from providers.database.database_threads import LONG, await_in_time, await_work
from providers.exceptions import DatabaseUnavailable


async def create_text_once(
    user_id: int | None, digest: str, make_text: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Write the text that `make_text` makes as a document, once; return text and document id.

    The text is kept under this digest, so that it is made only once for each user. The id is empty
    when nothing is stored. Raises the errors of `make_text`.
    """
    if user_id is None:
        return await make_text(), ""
    document_key = DocumentKey(user_id, digest)
    while stored := await await_in_time(LONG.run_work(create_or_claim_document, document_key)):
        if stored.lease is not None:
            return await create_text_under_lease(stored.lease, digest, make_text)
        if stored.state == DocumentState.INGESTED:
            document_id = stored.document_id
            text = await await_in_time(LONG.run_work(read_document_text, document_id))
            return text, document_id
        if stored.state in (DocumentState.EMPTY, DocumentState.ERROR):
            break
        await asyncio.sleep(LONGEST_PAUSE_SECONDS)
    return await make_text(), ""


async def create_text_under_lease(
    lease: DocumentLease, digest: str, make_text: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Do the work of `create_text_once` with the lease; write the document.

    The lease is renewed as long as the work takes.
    """
    async with hold_lease(lease) as held:
        try:
            text = SourceText(await make_text(), digest, Splitting())
            division = await asyncio.get_running_loop().run_in_executor(
                TEXT_THREADS, text.make_division
            )
            async with held.lock:
                is_written = await await_work(
                    LONG.run_work(write_passages, held.lease, text, division)
                )
        except BaseException:  # also when the caller left; another request may make the text
            await asyncio.shield(held.release_claim())
            raise
    return text.content, lease.document_id if is_written else ""


class HeldLease:
    """A lease that is renewed; `lock` is held while the document is written."""

    def __init__(self, lease: DocumentLease) -> None:
        self.lease = lease
        self.lock = asyncio.Lock()

    async def renew_until_lost(self) -> None:
        """Renew the lease again and again; return when another process has it. Writes the row."""
        while True:
            await asyncio.sleep(settings.DOCUMENT_SECONDS / 2)
            async with self.lock:
                try:
                    renewed = await asyncio.shield(
                        await_work(LONG.run_work(renew_claim, self.lease))
                    )
                except DatabaseUnavailable:
                    continue
                if renewed is None:
                    return
                self.lease = renewed

    async def release_claim(self) -> None:
        """Release the lease, if the database answers. Writes the row."""
        with suppress(DatabaseUnavailable):
            async with self.lock:
                await await_work(LONG.run_work(release_document, self.lease))


@asynccontextmanager
async def hold_lease(lease: DocumentLease) -> AsyncIterator[HeldLease]:
    """Renew the lease as long as the block runs."""
    held = HeldLease(lease)
    task = asyncio.create_task(held.renew_until_lost())
    try:
        yield held
    finally:
        task.cancel()
