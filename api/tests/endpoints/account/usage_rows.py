"""Usage records for the tests of usage, and requests for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from api.models import UsageRecord

NOW = datetime.now(UTC)


def create_record(person: Any = None, **fields: Any) -> UsageRecord:
    """Create a record of a person's request that has just ended."""
    values = {
        "started_at": NOW - timedelta(minutes=1),
        "endpoint": "chat/completions",
        "model": "m",
        "stream": False,
        "status": "complete",
        "http_status": 200,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_micro_usd": 1_500,
    }
    if person is not None:
        values |= {"key_id": person.row.pk, "user_id": person.user.pk}
    return UsageRecord.objects.create(**values | fields)


async def ask_usage(gateway: Any, person: Any, **params: Any) -> Any:
    return await gateway.send_request("GET", "/v1/usage", person.key, params=params)


async def ask_request(gateway: Any, person: Any, request_id: str) -> Any:
    return await gateway.send_request("GET", f"/v1/requests/{request_id}", person.key)
