"""Prices and usage records for tests, and directories made of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from api.models import Price, Status, UsageRecord
from api.pricing.price_directory import COLUMNS, PriceDirectory
from api.request_ids import first_id_at
from providers.models import Provider

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
TODAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
NO_PRICE = dict.fromkeys(COLUMNS) | {"tiers": [], "valid_from": LONG_AGO, "batch_factor": 1}
EMPTY_ATTEMPT = {"provider": "echo", "model": "big", "outcome": "answered", "reason": ""}


def make_directory(*rows: dict[str, Any]) -> PriceDirectory:
    """Return a directory of rows as `read_prices` gives them, the latest first."""
    directory = PriceDirectory()
    directory.apply_rows(
        NO_PRICE | {"id": 1, "provider_id": 13, "upstream_model": "m"} | row for row in rows
    )
    return directory


def create_price(provider: Provider, upstream_model: str = "big", **fields: Any) -> Price:
    """Create a price, valid long since."""
    values = {"valid_from": LONG_AGO, "prompt_usd": "1", "completion_usd": "2"} | fields
    row = Price(provider=provider, upstream_model=upstream_model, **values)
    row.full_clean()
    row.save()
    return row


class RecordCreator:
    """Creates usage records with the ids that the ledger would give them."""

    def __init__(self) -> None:
        self._number = 0

    def create_record(self, provider: Provider | None = None, **fields: Any) -> UsageRecord:
        """Create a complete record; `outcome` and `upstream_model` are those of its attempt."""
        self._number += 1
        started_at = fields.pop("started_at", timezone.now() - timedelta(minutes=1))
        attempt = EMPTY_ATTEMPT | {"model": fields.pop("upstream_model", "big")}
        attempt["outcome"] = fields.pop("outcome", "answered")
        values = {
            "id": UUID(int=first_id_at(started_at).int + self._number),
            "started_at": started_at,
            "provider": provider,
            "endpoint": "chat/completions",
            "model": "called",
            "stream": False,
            "status": Status.COMPLETE,
            "http_status": 200,
            "prompt_tokens": 1_000,
            "completion_tokens": 500,
            "attempts": [attempt],
        }
        return UsageRecord.objects.create(**values | fields)
