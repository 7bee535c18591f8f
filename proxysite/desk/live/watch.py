"""One time of watching: everything that the board gathers while somebody watches."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as AnyDatabaseError

from api.relay.gateway import Gateway
from providers.database.database_threads import HOUSEKEEPING
from providers.protocol.json_types import JsonObject
from proxysite.desk.live import news
from proxysite.desk.live.frames import NEWS, SNAPSHOT
from proxysite.desk.live.merged_view import MergedView
from proxysite.desk.live.names import NameDirectory, read_names
from proxysite.desk.live.news_reader import NewsReader
from proxysite.desk.live.samples import PROCESS_ID, FinishedRequests, sample_running

if TYPE_CHECKING:
    from proxysite.desk.live.sample_exchange import SampleExchange

logger = logging.getLogger(__name__)
NAMES_SECONDS = 0.4  # a frame waits no longer for names; then it has numbers


def make_exchange(on_sample: Callable[[JsonObject], None]) -> "SampleExchange | None":
    """Return the exchange with other processes; None without Redis, whose package takes 6 MB."""
    if not settings.REDIS_URL:
        return None
    from proxysite.desk.live.sample_exchange import SampleExchange

    return SampleExchange(on_sample)


class Watch:
    """The sources of the board, from the first viewer to the last."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._finished = FinishedRequests(settings.LIVE_ROWS)
        self._exchange = make_exchange(self._add_other_sample)
        self._view = MergedView(settings.LIVE_ROWS)
        self._names = NameDirectory()
        self._news = NewsReader()
        self._sent_lists: dict[str, list[JsonObject]] = {}
        self._is_showing = False
        gateway.ledger.report_row = self._finished.add_row

    async def take_sample(self) -> None:
        """Sample this process, and publish the sample to the processes that watch."""
        sample = sample_running(self._gateway.ledger, settings.LIVE_ROWS)
        sample |= self._finished.take_sample()
        self._view.add_sample(PROCESS_ID, sample, time.monotonic())
        if self._exchange is not None:
            await self._exchange.publish_sample(sample)

    def _add_other_sample(self, message: JsonObject) -> None:
        self._view.add_sample(message["process"], message["sample"], time.monotonic())

    async def build_frames(self) -> dict[str, JsonObject]:
        """Return the frames of this moment: SNAPSHOT has everything, NEWS only the latest rows."""
        await self._begin_showing()
        if self._exchange is not None:
            self._exchange.announce_viewer()
        self._view.drop_old_samples(time.monotonic())
        new_finished, finished_more = self._view.take_new_finished()
        new_changes = self._news.take_new_changes()
        running = self._view.list_running()
        await self._learn_names([*running, *self._view.finished])
        common = self._describe_gateway() | {"running": self._name_rows(running)}
        lists = {"breakers": self._news.news.breakers, "tasks": self._news.news.tasks}
        latest = self._select_changed(lists) | {
            "kind": NEWS,
            "finished": self._name_rows(new_finished),
            "finished_more": finished_more,
            "changes": new_changes,
        }
        everything = lists | {
            "kind": SNAPSHOT,
            "finished": self._name_rows(list(self._view.finished)),
            "finished_more": 0,
            "changes": list(self._news.changes),
        }
        return {NEWS: common | latest, SNAPSHOT: common | everything}

    def _select_changed(self, lists: dict[str, list[JsonObject]]) -> JsonObject:
        """Return the lists that differ from those of the frame before."""
        changed = {name: rows for name, rows in lists.items() if rows != self._sent_lists.get(name)}
        self._sent_lists = lists
        return changed

    async def _begin_showing(self) -> None:
        """Begin to read the data that only a process with viewers needs."""
        if self._is_showing:
            return
        self._is_showing = True
        if self._exchange is not None:
            self._exchange.start_receiving()
        await self._news.start()
        try:
            async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
                self._view.add_history(
                    await HOUSEKEEPING.run_work(news.read_history, settings.LIVE_ROWS // 2)
                )
        except (AnyDatabaseError, TimeoutError) as error:
            logger.warning("the live board begins without earlier requests: %s", error)

    def _describe_gateway(self) -> JsonObject:
        now = time.monotonic()
        is_redis_away = self._exchange is not None and self._exchange.is_away
        is_alone = self._exchange is None or is_redis_away
        return {
            "at": datetime.now(UTC),
            "counts": self._view.count_states(),
            "per_second": round(self._view.compute_rate(now), 1),
            "processes": self._view.process_count,
            "unseen_processes": self._news.news.process_count - 1 if is_alone else 0,
            "database_away": self._news.is_away or self._gateway.ledger.is_suspended,
            "redis_away": is_redis_away,
        }

    async def _learn_names(self, rows: list[JsonObject]) -> None:
        """Look up the names that these rows need and that are not known yet."""
        users, keys = self._names.find_unknown(rows)
        if not users and not keys:
            return
        try:
            async with asyncio.timeout(NAMES_SECONDS):
                self._names.add_names(await HOUSEKEEPING.run_work(read_names, users, keys))
        except (AnyDatabaseError, TimeoutError) as error:
            logger.info("names for the live board come later: %s", error)

    def _name_rows(self, rows: list[JsonObject]) -> list[JsonObject]:
        return [self._names.name_row(row) for row in rows]

    async def end_showing(self) -> None:
        """Stop reading the data that only a process with viewers needs."""
        if self._is_showing:
            self._is_showing = False
            await self._news.close()
            if self._exchange is not None:
                await self._exchange.stop_receiving()

    async def close(self) -> None:
        """Give back everything, so that requests are no longer reported."""
        self._gateway.ledger.report_row = None
        await self.end_showing()
        if self._exchange is not None:
            await self._exchange.close()
