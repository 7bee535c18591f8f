"""The staff endpoints of the token pool.

Addresses and keys are those of the K2Think API Proxy and of its admin page. The pool's counts cover
all providers unless the request names one. Requests about one provider (its mode, its token file,
pasted tokens) are otherwise about the one that `staff_access.the_provider` finds.
"""

from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response

from api.views.staff.staff_access import (
    ADD_TOKENS,
    CHANGE_PROVIDER,
    PROVIDERS,
    TOKENS,
    Mistake,
    StaffDoor,
    body,
    may_view,
    named,
    success,
    the_provider,
)
from providers import registry
from providers.admin.big_tables import audit
from providers.choices import Mode
from providers.integers import parse_integer
from providers.models import Provider
from tokens import provider_counts
from tokens.imports import token_file, token_import
from tokens.maintenance import check_now
from tokens.models import State, UpstreamToken
from tokens.outcomes.breaker_sharing import describe_open, find_open
from tokens.querysets import TokenQuerySet

OUTCOMES = (
    "works",
    "rejected",
    "unproven",
    "rate_limited",
    "out_of_quota",
    "provider_failed",
    "unreadable",
)
LAST_NUMBER = 999_999_999  # highest number of a token in the list
SHOWN_LINES = 10  # malformed lines that a message names


# --- which tokens ---------------------------------------------------------------------------------
def the_tokens(request: Request) -> TokenQuerySet:
    """Return all tokens, or those of the provider in the request, in list order.

    Raises Mistake.
    """
    tokens = UpstreamToken.objects.order_by("created_at", "pk")
    return tokens.filter(provider=the_provider(request)) if named(request) else tokens


def the_token(tokens: TokenQuerySet, name: str) -> TokenQuerySet:
    """Return the one token that `name` means: its id, or its number in the list.

    Raises Mistake.
    """
    number = parse_integer(name, 0, LAST_NUMBER)
    if number is not None:
        ids = list(tokens.values_list("pk", flat=True)[number : number + 1])
        if not ids:
            count = tokens.count()
            raise Mistake(f"There is no token number {name}: there are {count}, numbered from 0.")
        return UpstreamToken.objects.filter(pk=ids[0])
    try:
        found = tokens.filter(pk=UUID(name))
    except ValueError:
        raise Mistake("A token is named by its id or by its number in the list.") from None
    if not found.exists():
        raise Mistake(f"There is no token {name}.")
    return found


# --- the pool -------------------------------------------------------------------------------------
def stats(request: Request) -> dict[str, Any]:
    """Return the pool's counts under the keys of the K2Think proxy, and those of each provider.

    Raises Mistake.
    """
    tokens = the_tokens(request)
    counted = provider_counts.of_providers(tokens)
    providers = (
        Provider.objects.filter(name=named(request)) if named(request) else Provider.objects.all()
    )
    total, active = (sum(one[word] for one in counted.values()) for word in ("total", "active"))
    breakers = {state.provider_id: describe_open(state) for state in find_open()}
    strikes = tokens.order_by("strikes").values_list("strikes").annotate(there=Count("pk"))
    return {
        "total_tokens": total,
        "active_tokens": active,
        "inactive_tokens": total - active,
        "current_index": provider_counts.position(tokens),
        "failure_distribution": {str(number): there for number, there in strikes},
        "max_failures": settings.MAX_TOKEN_FAILURES,
        "providers": [
            {
                "name": row.name,
                "mode": row.mode,
                "breaker": breakers.get(row.pk, "closed"),
                **counted.get(row.pk, provider_counts.standing({})),
            }
            for row in providers.order_by("name")
        ],
    }


class Stats(StaffDoor):
    def get(self, request: Request) -> Response:
        return Response({"status": "success", "data": stats(request)})


class Reset(StaffDoor):
    """Reset one token: enabled, without strikes or cooldown."""

    def post(self, request: Request, name: str) -> Response:
        chosen = the_token(the_tokens(request), name)
        audit(cast(HttpRequest, request), chosen, "Reset.")
        chosen.reset()
        return success(f"Token {name} is reset.")


class ResetAll(StaffDoor):
    """Reset every token; those that need no reset are not written."""

    def post(self, request: Request) -> Response:
        tokens = the_tokens(request)
        changed = ~Q(state=State.ACTIVE) | Q(strikes__gt=0) | Q(rests_until__isnull=False)
        worn = tokens.filter(changed)
        audit(cast(HttpRequest, request), worn, "Reset.")
        count = worn.reset()
        return success(f"All tokens are as new: {count} of {tokens.count()} had to be reset.")


def told(report: token_import.Report) -> str:
    """Return the result of an import as a sentence.

    Malformed lines are named by their number; the lines themselves are not shown.
    """
    counts = report.counts
    others = (
        token_import.UPDATED,
        token_import.KNOWN,
        token_import.IN_FILE,
        token_import.MALFORMED,
    )
    parts = [
        f"{counts[token_import.NEW]} imported",
        *(f"{counts[word]} {word}" for word in others if counts[word]),
    ]
    wrong = [verdict for verdict in report.verdicts if verdict.verdict == token_import.MALFORMED]
    if wrong:
        lines = "; ".join(
            f"line {verdict.line}: {verdict.reason}" for verdict in wrong[:SHOWN_LINES]
        )
        if len(wrong) > SHOWN_LINES:
            lines += f" and {len(wrong) - SHOWN_LINES} more"
        parts[-1] += f" ({lines})"
    return f"{', '.join(parts)}."


class Reload(StaffDoor):
    """Read the token file again and import new tokens; known ones do not change."""

    deed = ADD_TOKENS

    def post(self, request: Request) -> Response:
        provider = the_provider(request)
        try:
            report = token_file.reload(provider)
        except token_file.NoFile as error:
            raise Mistake(str(error)) from None
        more = {"data": stats(request)} if may_view(request.user, TOKENS) else {}
        return success(f"{provider}: {told(report)}", **more)


class Check(StaffDoor):
    """Check all tokens at their upstreams, those of one provider, or the one in "token".

    Few are checked now, many by the worker ("queued").
    """

    def post(self, request: Request) -> Response:
        tokens = the_tokens(request)
        name = body(request).get("token", "")
        chosen = the_token(tokens, str(name)) if name != "" else tokens
        inspection = check_now.inspect(chosen)
        found = {outcome.replace(" ", "_"): count for outcome, count in inspection.outcomes.items()}
        counts = {"checked": inspection.outcomes.total(), **dict.fromkeys(OUTCOMES, 0), **found}
        return Response({"status": "success", "data": {**counts, "queued": inspection.queued}})


class Content(StaffDoor):
    """List the tokens in list order, masked."""

    def get(self, request: Request) -> Response:
        return Response(
            {
                "status": "success",
                "tokens": list(the_tokens(request).values_list("masked", flat=True)),
            }
        )


class Update(StaffDoor):
    """Import a list of tokens; tokens that are not in it stay, as nothing is deleted here."""

    deed = ADD_TOKENS

    def post(self, request: Request) -> Response:
        tokens = body(request).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise Mistake("“tokens” must be a list of texts, each one token.")
        provider = the_provider(request)
        report = token_import.run(provider, tokens)
        return success(f"{provider}: {told(report)} Tokens that are not in the list stay.")


# --- the mode -------------------------------------------------------------------------------------
def switch(provider: Provider, mode: object) -> None:
    """Write the provider's mode, guest or user; every process uses it in under a second.

    Raises Mistake.
    """
    if mode not in Mode.values:
        raise Mistake("The mode is “guest” or “user”.")
    if (
        provider.kind not in registry.kinds()
        or mode not in registry.adapter_class(provider.kind).modes
    ):
        raise Mistake(f"{provider} has no entrance for the mode {mode}.")
    Provider.objects.filter(pk=provider.pk).update(mode=str(mode))


class SwitchMode(StaffDoor):
    deed = CHANGE_PROVIDER

    def post(self, request: Request) -> Response:
        mode = body(request).get("mode")
        provider = the_provider(request)
        switch(provider, mode)
        audit(cast(HttpRequest, request), Provider.objects.filter(pk=provider.pk), f"Mode {mode}.")
        return success(f"{provider} is asked in {mode} mode now.", mode=mode)


class Status(StaffDoor):
    looks_at = (TOKENS, PROVIDERS)

    def get(self, request: Request) -> Response:
        provider = the_provider(request)
        config = {
            "tokens_file": token_file.path(provider),
            "api_url": provider.base_url,
            "tool_support": settings.TOOL_SUPPORT,
            "debug_logging": settings.LOG_LEVEL == "DEBUG",
        }
        return Response({"mode": provider.mode, "token_stats": stats(request), "config": config})
