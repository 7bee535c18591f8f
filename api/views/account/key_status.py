"""/v1/key: what the caller's API key may do, and what is left of its limits."""

import time
from datetime import UTC, datetime

import orjson
from django.http import HttpResponseBase

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.limits.access import find_access_refusal
from api.limits.allowance import Allowance
from api.limits.caller_limits import MICRO_USD, AccessRules, Rule
from api.models import ApiKey
from api.relay.lean_request import LeanRequest
from api.streaming.stream_answer import JsonAnswer
from api.views.model_catalogue.model_objects import list_model_objects
from providers.database.database_threads import QUICK, await_in_time
from providers.exceptions import Forbidden
from providers.protocol.json_types import JsonObject


@api_endpoint("GET")
async def show_key(request: LeanRequest) -> HttpResponseBase:
    """Answer with the key's rights and limits; it changes nothing and counts as no request.

    A key may ask this whatever endpoints it is limited to.
    """
    start_time = time.monotonic()
    caller = await request.gateway.keyring.identify_caller(request.META)
    if caller.limits is not None:
        refusal = find_access_refusal(caller.limits, request, checks_endpoint=False)
        if refusal is not None:
            raise refusal.error
    if caller.key_id is None:
        raise Forbidden("The request carries no API key of this gateway.", code="no_api_key")
    key = await await_in_time(QUICK.run_work(load_key, caller))
    rules = caller.limits.rules if caller.limits is not None else ()
    allowances = await request.gateway.limits.look_up(rules)
    key["limits"] = [
        render_limit(rule, allowance) for rule, allowance in zip(rules, allowances, strict=True)
    ]
    return JsonAnswer(orjson.dumps(key), request.request_id, start_time)


def load_key(caller: Caller) -> JsonObject:
    """Return the facts of the key that are no limits; runs in a database thread."""
    row = ApiKey.objects.select_related("user__team_membership__team").get(pk=caller.key_id or 0)
    membership = getattr(row.user, "team_membership", None)
    access = caller.limits.access if caller.limits is not None else ()
    return {
        "object": "key",
        "prefix": row.prefix,
        "name": row.name,
        "user": row.user.get_username(),
        "team": membership.team.name if membership is not None else None,
        "created": int(row.created_at.timestamp()),
        "expires_at": int(row.expires_at.timestamp()) if row.expires_at else None,
        "models": list(list_model_objects(caller)),
        "default_model": row.default_model or None,
        "stores_content": row.stores_content,
        "access": [render_access(rules) for rules in access],
    }


def render_access(rules: AccessRules) -> JsonObject:
    """Return what a subject may use; null: everything, always."""
    ends = rules.expires_timestamp
    return {
        "subject": rules.subject.kind,
        "endpoints": list(rules.endpoints) or None,
        "ip_ranges": [str(network) for network in rules.networks] or None,
        "expires_at": None if ends == float("inf") else int(ends),
    }


def render_limit(rule: Rule, allowance: Allowance) -> JsonObject:
    """Return one limit: its amount, and how much of it is used, reserved and left."""
    limit: JsonObject = {"subject": rule.subject.kind, "limit": str(rule.resource)}
    lease = allowance.lease
    if allowance.is_budget:
        spent = lease.spent if lease is not None else 0
        left = max(0, allowance.limit - spent)
        return limit | {
            "unit": "USD",
            "amount": to_usd(allowance.limit),
            "used": to_usd(spent),
            "reserved": to_usd(max(0, left - allowance.remaining)),
            "left": to_usd(left),
            **render_end(rule),
        }
    return limit | {
        "unit": "tokens" if "token" in rule.resource else "requests",
        "amount": allowance.limit,
        "used": allowance.limit - allowance.remaining,
        "left": allowance.remaining,
        "resets_in_seconds": lease.seconds_until_full if lease is not None else 0,
    }


def render_end(rule: Rule) -> JsonObject:
    """Return when a budget is renewed; null for one that renews little by little, or never."""
    period = rule.period
    end = period.find_bounds(time.time())[1] if period is not None else float("inf")
    return {
        "period": period.unit if period is not None else "total",
        "window": "rolling" if period is not None and period.is_rolling else "calendar",
        "resets_at": None if end == float("inf") else datetime.fromtimestamp(end, UTC).isoformat(),
    }


def to_usd(micro_usd: int) -> float:
    return micro_usd / MICRO_USD
