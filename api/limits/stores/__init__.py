"""The stores of limits: in memory for one process, in Postgres and in Redis for many."""

from django.conf import settings
from django.db import connection

from api.accounting.writers import list_postgres_parameters
from api.limits.stores.limit_store import LimitStore
from api.limits.stores.memory_store import MemoryStore
from api.limits.stores.postgres_store import PostgresStore
from api.limits.stores.redis_store import RedisStore
from api.limits.stores.spent_money import load_spent


def make_store() -> LimitStore:
    """Return the store for the configured database, and for Redis where it is configured."""
    if connection.vendor == "sqlite":
        return MemoryStore(load_spent)
    postgres = PostgresStore(list_postgres_parameters(), settings.DATABASE_TIMEOUT_SECONDS)
    return RedisStore(settings.REDIS_URL, postgres) if settings.REDIS_URL else postgres
