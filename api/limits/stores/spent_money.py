"""The money that subjects have spent, from the sums of the usage records."""

from api.limits.stores.limit_store import Counter


async def load_spent(counter: Counter) -> int:
    """Return the money that a subject spent in the period of a counter, in millionths of a USD."""
    return 0
