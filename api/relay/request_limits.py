"""Reserve what a request may use of its caller's limits, before it is sent."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.alerts.limit_alerts import report_refusal
from api.authentication import Caller
from api.limits import end_users
from api.limits.caller_limits import CallerLimits, Resource
from api.limits.limit_keeper import LimitRefused
from api.limits.request_demands import count_calls, estimate_request, list_demands
from api.limits.reservation import Reservation
from providers.catalogue import Candidate
from providers.relayed.requested_units import estimate_units

if TYPE_CHECKING:
    from api.relay.gateway import Gateway
    from api.relay.lean_request import LeanRequest
    from api.relay.pipeline import AcceptedRequest

USUAL_TOOL_ROUNDS = 2  # upstream calls of a request with tools that the gateway runs
COUNTED = (Resource.REQUESTS, Resource.CONCURRENCY)  # of requests that ask no model


async def reserve_request(
    gateway: "Gateway",
    accepted: "AcceptedRequest",
    limits: CallerLimits,
    candidates: Sequence[Candidate],
) -> Reservation:
    """Reserve what a request may use of all its caller's limits.

    Raises the error of the limit that refuses it, which gets a usage record; DatabaseUnavailable.
    """
    caller = accepted.caller
    request = accepted.chat_request
    lengths = gateway.limits.find_answer_lengths(accepted.model.public_id)
    size_bytes = accepted.size_bytes if accepted.turn is None else None
    estimate = estimate_request(request, size_bytes, lengths)
    calls = count_calls(candidates[0])
    if accepted.tool_plan is not None:
        calls *= USUAL_TOOL_ROUNDS
    tokens = (estimate.prompt + estimate.completion) * calls
    cost = gateway.prices.estimate_highest_cost(
        candidates,
        estimate.most_prompt,
        estimate.most_completion,
        datetime.now(UTC),
        estimate_units(request),
    )
    micro_usd = None if cost is None else cost * calls
    end_user_id = find_end_user(accepted, limits)
    rules = limits.rules
    if end_user_id is not None:
        rules += limits.list_end_user_rules(end_user_id, caller.key_id or 0)
    demands = list_demands(rules, tokens, micro_usd)
    try:
        reservation = await gateway.limits.reserve(demands, lengths)
    except LimitRefused as refused:
        gateway.refused_requests.add_refusal(
            caller, request.id, request.ledger_endpoint, request.model, refused.named_error
        )
        rule = refused.refusal.rule
        report_refusal(gateway.alerts, rule, rule.current_amount(time.time()))
        raise refused.refusal.error from None
    reservation.end_user_id = end_user_id
    reservation.prompt_estimate = estimate.prompt * calls
    return reservation


@asynccontextmanager
async def count_request(request: "LeanRequest", caller: Caller) -> AsyncIterator[None]:
    """Count a request that asks no model to the requests of its caller, while the block runs.

    Raises the error of the limit that refuses it, which gets a usage record; DatabaseUnavailable.
    """
    limits = caller.limits
    if limits is None:
        yield
        return
    demands = [(rule, 1) for rule in limits.rules if rule.resource in COUNTED]
    try:
        reservation = await request.gateway.limits.reserve(demands)
    except LimitRefused as refused:
        request.gateway.refused_requests.add_refusal(
            caller, request.request_id, request.ledger_endpoint, "", refused.named_error
        )
        rule = refused.refusal.rule
        report_refusal(request.gateway.alerts, rule, rule.current_amount(time.time()))
        raise refused.refusal.error from None
    try:
        yield
    finally:
        reservation.end_plain_request()


def find_end_user(accepted: "AcceptedRequest", limits: CallerLimits) -> int | None:
    """Return the number of the end user whom a request names, where the key limits each of them."""
    key_id = accepted.caller.key_id
    if limits.end_user is None or key_id is None:
        return None
    return end_users.find_end_user_id(accepted.chat_request.body, key_id)
