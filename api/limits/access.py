"""The models, endpoints and addresses that a caller may use."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from django.http import HttpRequest

from api.limits.caller_limits import AccessRules, CallerLimits, is_expired
from providers.exceptions import Forbidden
from providers.network.client_address import find_caller_address


class AccessRefusal(NamedTuple):
    """The reason why a caller may not do something, and its error."""

    limit_name: str  # for the usage record, for example `team endpoints`
    error: Forbidden


@lru_cache(maxsize=1_024)
def compile_patterns(patterns: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern that matches what one of these does; `*` stands for any characters."""
    return re.compile("|".join(re.escape(text).replace(r"\*", ".*") for text in patterns))


def matches_any(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether a name matches one of the patterns."""
    return compile_patterns(patterns).fullmatch(name) is not None


def can_use_model(limits: CallerLimits, name: str, public_id: str) -> bool:
    """Return whether a model may be used, by the caller's name for it or by its public id."""
    return all(
        not rules.models or matches_any(rules.models, public_id) or matches_any(rules.models, name)
        for rules in limits.access
    )


def find_access_refusal(
    limits: CallerLimits, request: HttpRequest, *, checks_endpoint: bool = True
) -> AccessRefusal | None:
    """Return why this endpoint may not be called from where the request comes, or None."""
    for rules in limits.access:
        subject = rules.subject
        if is_expired(rules):
            return AccessRefusal(
                f"{subject.kind} expiry",
                Forbidden(f"The access of {subject.text} has ended.", code="access_expired"),
            )
        if checks_endpoint and rules.endpoints and not matches_any(rules.endpoints, request.path):
            message = f"{subject.text} may not use {request.path}."
            return AccessRefusal(
                f"{subject.kind} endpoints",
                Forbidden(message[0].upper() + message[1:], code="endpoint_not_allowed"),
            )
        if rules.networks and not is_within(rules, request):
            message = f"{subject.text} may not be used from this address."
            return AccessRefusal(
                f"{subject.kind} addresses",
                Forbidden(message[0].upper() + message[1:], code="address_not_allowed"),
            )
    return None


def is_within(rules: AccessRules, request: HttpRequest) -> bool:
    """Return whether the request comes from one of the networks."""
    address = find_caller_address(request)
    return address is not None and any(address in network for network in rules.networks)
