"""Read the news of the board once a second, beside its loop: a slow database delays no frame."""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field

from django.conf import settings
from django.db import Error as AnyDatabaseError

from api.accounting.journal import list_journals
from providers.database.database_threads import HOUSEKEEPING
from providers.protocol.json_types import JsonObject
from proxysite.desk.live import news
from proxysite.desk.live.frames import select_new

logger = logging.getLogger(__name__)
READ_SECONDS = 1.0
UNCHANGED_SECONDS = 5.0  # what only time changes, such as a task that ended long ago, comes so late
MOST_CHANGES = 60  # changes of tokens and breakers in a snapshot


@dataclass
class News:
    """One reading of the database."""

    changes: list[JsonObject] = field(default_factory=list)
    breakers: list[JsonObject] = field(default_factory=list)
    tasks: list[JsonObject] = field(default_factory=list)
    process_count: int = 1  # with this home
    marker: tuple[object, ...] = ()
    read_at: float = -UNCHANGED_SECONDS  # on the monotonic clock


def read_news(earlier: News) -> News:
    """Read the news, or return the earlier ones if nothing has changed; for a database thread."""
    marker = news.read_marker()
    now = time.monotonic()
    if marker == earlier.marker and now - earlier.read_at < UNCHANGED_SECONDS:
        return earlier
    return News(
        news.read_pool_changes(),
        news.read_breakers(),
        news.read_tasks(),
        count_processes(),
        marker,
        now,
    )


def count_processes() -> int:
    """Return how many gateway processes use this home; SQLite has one, whatever was left behind."""
    if settings.EMBEDDED_DATABASE:
        return 1
    return len(list_journals(settings.HOME.root / "journal"))


class NewsReader:
    """The latest news, and changes that no frame has had; `is_away` while nothing can be read."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._known_changes: set[str] = set()
        self._new_changes: list[JsonObject] = []
        self.changes: deque[JsonObject] = deque(maxlen=MOST_CHANGES)
        self.news = News()
        self.is_away = False

    async def start(self) -> None:
        """Read the news once, and then again and again until `close`."""
        if self._task is None:
            await self.read_once()
            self._task = asyncio.create_task(self._read_until_cancelled())

    async def close(self) -> None:
        """Stop to read."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _read_until_cancelled(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            await self.read_once()

    async def read_once(self) -> None:
        """Read the news, if the database answers in time."""
        try:
            async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
                latest = await HOUSEKEEPING.run_work(read_news, self.news)
        except (AnyDatabaseError, TimeoutError) as error:
            if not self.is_away:
                logger.warning("the live board cannot read the database: %s", error)
            self.is_away = True
        else:
            self.is_away = False
            if latest is not self.news:
                self.news = latest
                self._new_changes += select_new(latest.changes, self._known_changes)

    def take_new_changes(self) -> list[JsonObject]:
        """Return the changes of tokens that no frame has had yet."""
        new, self._new_changes = self._new_changes, []
        self.changes.extend(new)
        return new
