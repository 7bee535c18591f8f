"""Reserve what a request may use of its caller's limits, before it is sent."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from api.limits import end_users
from api.limits.caller_limits import CallerLimits, Rule
from api.limits.limit_keeper import LimitRefused
from api.limits.request_demands import count_calls, estimate_request, list_demands
from api.limits.reservation import Reservation
from providers.catalogue import Candidate

if TYPE_CHECKING:
    from api.relay.gateway import Gateway
    from api.relay.pipeline import AcceptedRequest


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
    tokens = (estimate.prompt + estimate.completion) * calls
    micro_usd = None
    demands = list_demands(find_rules(accepted, limits), tokens, micro_usd)
    try:
        return await gateway.limits.reserve(demands, lengths)
    except LimitRefused as refused:
        refusal = (refused.refusal.limit_name, refused.refusal.error)
        gateway.refused_requests.add_refusal(
            caller, request.id, request.ledger_endpoint, request.model, refusal
        )
        raise refused.refusal.error from None


def find_rules(accepted: "AcceptedRequest", limits: CallerLimits) -> Sequence[Rule]:
    """Return the rules of the caller, and those of the end user whom the request names."""
    key_id = accepted.caller.key_id
    if limits.end_user is None or key_id is None:
        return limits.rules
    end_user_id = end_users.find_end_user_id(accepted.chat_request.body, key_id)
    if end_user_id is None:
        return limits.rules
    return (*limits.rules, *limits.list_end_user_rules(end_user_id, key_id))
