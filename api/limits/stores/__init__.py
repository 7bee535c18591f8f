"""The stores of limits: in memory for one process, in Postgres and in Redis for many."""

from api.limits.stores.limit_store import LimitStore
from api.limits.stores.memory_store import MemoryStore
from api.limits.stores.spent_money import load_spent


def make_store() -> LimitStore:
    """Return the store for the configured database."""
    return MemoryStore(load_spent)
