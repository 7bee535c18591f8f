"""The record of one request, as `/v1/requests/{id}` shows it to its owner or to staff.

The owner sees how the upstream calls went, but no token, no price and no text of an upstream; the
names of providers and their models only with NAME_UPSTREAMS. Staff see everything.
"""

import re
from uuid import UUID

from django.conf import settings

from api.models import UsageRecord
from api.usage.usage_report import format_moment, format_usd
from providers.protocol.json_types import JsonObject

REQUEST_ID = re.compile(r"(?:req_)?([0-9a-f]{32})")
OWNERS_ATTEMPT_FIELDS = ("outcome", "status", "connect_ms", "first_byte_ms", "total_ms")
NAMED_ATTEMPT_FIELDS = ("provider", "model", *OWNERS_ATTEMPT_FIELDS)


def find_record(request_id: str, owner_id: int | None) -> UsageRecord | None:
    """Return the record of a request, or None when there is none or it is another user's.

    Without `owner_id` it may be anybody's. One query in any case.
    """
    match = REQUEST_ID.fullmatch(request_id)
    records = UsageRecord.objects.select_related("price").filter(
        pk=UUID(match[1]) if match else UUID(int=0)
    )
    if owner_id is not None:
        records = records.filter(user_id=owner_id)
    return records.first()


def build_record_report(record: UsageRecord, *, for_staff: bool) -> JsonObject:
    """Return a record as JSON; `for_staff` adds what only staff may see."""
    report: JsonObject = {
        "id": str(record),
        "object": "request",
        "status": record.status,
        "started_at": format_moment(record.started_at),
        "endpoint": record.endpoint,
        "model": record.model,
        "stream": record.stream,
        "http_status": record.http_status,
        "error_code": record.error_code or None,
        "refused_by": record.refused_by or None,
        "request_count": record.request_count,
        "key_id": record.key_id,
        "usage": build_token_counts(record),
        **build_costs(record),
        "milliseconds": {
            "queue": record.queue_ms,
            "connect": record.connect_ms,
            "first_byte": record.first_byte_ms,
            "total": record.total_ms,
        },
        "attempts": build_attempts(record, for_staff=for_staff),
    }
    if for_staff:
        report |= build_staff_part(record)
    return report


def build_token_counts(record: UsageRecord) -> JsonObject:
    return {
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "reasoning_tokens": record.reasoning_tokens,
        "cached_tokens": record.cached_tokens,
        "cache_write_tokens": record.cache_write_tokens,
        "estimated": record.estimated,
    }


def build_costs(record: UsageRecord) -> JsonObject:
    """Return the cost of a request; null is unknown."""
    micro_usd = record.cost_micro_usd
    return {
        "cost_usd": None if micro_usd is None else format_usd(micro_usd),
        "cost_micro_usd": micro_usd,
    }


def build_attempts(record: UsageRecord, *, for_staff: bool) -> list[JsonObject]:
    """Return the upstream calls of a request, in order."""
    if for_staff:
        return list(record.attempts)
    fields = NAMED_ATTEMPT_FIELDS if settings.NAME_UPSTREAMS else OWNERS_ATTEMPT_FIELDS
    return [{name: attempt.get(name) for name in fields} for attempt in record.attempts]


def build_staff_part(record: UsageRecord) -> JsonObject:
    """Return what only staff may see of a record."""
    return {
        "user_id": record.user_id,
        "team_id": record.team_id,
        "provider_id": record.provider_id,
        "token_id": str(record.token_id) if record.token_id else None,
        "price_id": record.price_id,
        "price": str(record.price) if record.price is not None else None,
        "reported_cost_micro_usd": record.reported_cost_micro_usd,
    }
