"""The answered calls of a request, as its usage record has them."""

from collections.abc import Mapping
from typing import Any

from api.models import Status
from api.pricing.request_cost import AnsweredCall
from providers.protocol.attempt import ANSWERING_OUTCOMES
from providers.protocol.billed_units import read_billed_units
from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import TokenUsage

COUNTS_BY_COLUMN = {
    "prompt_tokens": "prompt",
    "completion_tokens": "completion",
    "reasoning_tokens": "reasoning",
    "cached_tokens": "cached",
    "cache_write_tokens": "cache_write",
}
COLUMNS = ("provider_id", "status", "attempts", *COUNTS_BY_COLUMN)
# records of these requests do not have what their upstream calls took
UNTOLD_STATUSES = (Status.INTERRUPTED.value, Status.REFUSED.value)


def read_answered_calls(record: Mapping[str, Any]) -> list[AnsweredCall] | None:
    """Return the answered calls of a record, given as COLUMNS, with the tokens of each.

    None when the record does not say which call took which tokens: those of requests whose process
    died, and of requests with several calls that an earlier release wrote.
    """
    answered = list_answered_attempts(record["attempts"])
    whole = TokenUsage(**{name: record[column] for column, name in COUNTS_BY_COLUMN.items()})
    if not answered:
        has_tokens = whole.prompt or whole.completion
        return None if has_tokens or record["status"] in UNTOLD_STATUSES else []
    if len(answered) == 1:
        billed = read_billed_units(answered[0].get("units"))
        return [AnsweredCall(record["provider_id"], str(answered[0].get("model")), whole, billed)]
    calls = [
        AnsweredCall(entry.get("provider_id"), str(entry.get("model")), TokenUsage(**tokens))
        for entry in answered
        if (tokens := entry.get("tokens"))
    ]
    parts = sum((call.usage for call in calls if call.usage is not None), TokenUsage())
    return calls if has_same_counts(parts, whole) else None


def list_answered_attempts(attempts: list[JsonObject]) -> list[JsonObject]:
    """Return the entries of a record's attempts that an upstream answered, at least in part."""
    return [entry for entry in attempts if entry.get("outcome") in ANSWERING_OUTCOMES]


def has_same_counts(first: TokenUsage, second: TokenUsage) -> bool:
    """Return whether two usages have the same tokens, estimated or not."""
    return all(getattr(first, name) == getattr(second, name) for name in COUNTS_BY_COLUMN.values())
