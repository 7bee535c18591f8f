"""Database work of the event loop: plain functions run in a few threads of their own, with connections that are
closed when old; and what is told when the database cannot answer, or not in time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import close_old_connections

from providers.database_errors import explain_database_error
from providers.exceptions import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")
_threads = ThreadPoolExecutor(4, thread_name_prefix="database")


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args)` in a database thread. The function may use the ORM; whatever it raises is raised here."""

    def work() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_threads, work)


async def in_time(answer: Awaitable[T]) -> T:
    """What the database answers. Raises DatabaseUnavailable when it cannot, or takes longer than its patience;
    InternalError when it refuses what it is asked.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
            return await heard(answer)
    except TimeoutError:
        raise DatabaseUnavailable("The database does not answer.", retry_after_seconds=2) from None


async def heard(answer: Awaitable[T]) -> T:
    """What the database answers, however long that takes. Raises DatabaseUnavailable, InternalError."""
    try:
        return await answer
    except AnyDatabaseError as error:
        raise explain_database_error(error) from error
