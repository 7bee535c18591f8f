"""Requests while the database is away, with a short patience for it."""

import pytest

SHORT_DATABASE_TIMEOUT = pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3)


async def is_answered(gateway, alice):
    """Tell whether a chat request is answered."""
    return (await gateway.request_chat(alice.key)).status == 200
