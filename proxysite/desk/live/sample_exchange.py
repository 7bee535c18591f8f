"""Exchange samples between processes: each sees the requests of all.

A process with viewers announces that it watches: it raises the version of the topic "live", which
every process reads anyway (`proxysite/server/change_watcher.py`), so that a board that nobody
watches costs nothing. The others then publish their samples to a group of the channel layer. Only
Redis joins processes; without it a process sees itself alone.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection
from django.db.models import F
from redis.exceptions import RedisError

from providers.database.database_threads import HOUSEKEEPING
from providers.database.revisions import CHANNEL, LIVE_TOPIC
from providers.models import Revision
from providers.protocol.json_types import JsonObject
from proxysite.desk.live.samples import PROCESS_ID

logger = logging.getLogger(__name__)
MESSAGE_TYPE = "live.sample"
ANNOUNCE_SECONDS = 2.0
LAYER_SECONDS = 1.0  # a Redis that does not answer within it counts as away
PAUSE_SECONDS = 1.0  # before the next try to receive


def name_group() -> str:
    """Return the name of this gateway's group: other gateways may use the same Redis."""
    digest = hashlib.sha256(f"live board:{settings.SECRET_KEY}".encode()).hexdigest()
    return f"live-board-{digest[:16]}"


class SampleExchange:
    """The exchange of samples over Redis; `is_away` while Redis does not answer."""

    def __init__(self, on_sample: Callable[[JsonObject], None]) -> None:
        self._on_sample = on_sample
        self._receive_task: asyncio.Task[None] | None = None
        self._announce_task: asyncio.Task[None] | None = None
        self._announced_at = float("-inf")
        self.is_away = False

    async def publish_sample(self, sample: JsonObject) -> None:
        """Send a sample of this process to the processes that watch."""
        message = {"type": MESSAGE_TYPE, "process": PROCESS_ID, "sample": sample}
        await self._try_layer(get_channel_layer().group_send(name_group(), message))

    async def _try_layer(self, work: Awaitable[None]) -> None:
        """Do work with the channel layer, and note whether Redis answers."""
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await work
        except (RedisError, OSError, TimeoutError) as error:
            if not self.is_away:
                logger.warning("the live board shows one process: %s", type(error).__name__)
            self.is_away = True
        else:
            self.is_away = False

    def start_receiving(self) -> None:
        """Receive the samples of other processes until `stop_receiving`."""
        if self._receive_task is None:
            self._receive_task = asyncio.create_task(self._receive_until_cancelled())

    async def stop_receiving(self) -> None:
        """Stop to receive the samples of other processes."""
        if self._receive_task is not None:
            self._receive_task.cancel()
            await asyncio.gather(self._receive_task, return_exceptions=True)
            self._receive_task = None
            await self.close()

    async def close(self) -> None:
        """Close the connection to Redis, which is polled as long as it is open."""
        await self._try_layer(get_channel_layer().flush())

    async def _receive_until_cancelled(self) -> None:
        while True:
            try:
                await self._receive_samples()
            except (RedisError, OSError) as error:
                logger.warning("samples cannot be received: %s", type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _receive_samples(self) -> None:
        layer = get_channel_layer()
        group = name_group()
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        try:
            while True:
                message = await layer.receive(channel)
                if message["process"] != PROCESS_ID:
                    self._on_sample(message)
        finally:
            await layer.group_discard(group, channel)

    def announce_viewer(self) -> None:
        """Tell all processes that somebody watches here, once in ANNOUNCE_SECONDS."""
        now = time.monotonic()
        is_telling = self._announce_task is not None and not self._announce_task.done()
        if is_telling or now - self._announced_at < ANNOUNCE_SECONDS:
            return
        self._announced_at = now
        self._announce_task = asyncio.create_task(self._write_announcement())

    async def _write_announcement(self) -> None:
        try:
            await HOUSEKEEPING.run_work(raise_live_version)
        except AnyDatabaseError as error:
            logger.info("the live board cannot be announced: %s", type(error).__name__)


def raise_live_version() -> None:
    """Raise the version of the topic "live", and on Postgres wake the processes that wait for it.

    For a database thread.
    """
    rows = Revision.objects.filter(topic=LIVE_TOPIC)
    if not rows.update(version=F("version") + 1):
        Revision.objects.bulk_create([Revision(topic=LIVE_TOPIC, version=1)], ignore_conflicts=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, LIVE_TOPIC])
