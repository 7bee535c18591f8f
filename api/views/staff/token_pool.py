"""The staff endpoints of the token pool.

Addresses and keys are those of the K2Think API Proxy and of its admin page. The pool's counts cover
all providers unless the request names one. Requests about one provider (its mode, its token file,
pasted tokens) are otherwise about the one that `staff_access.find_requested_provider` finds.
"""

from typing import cast
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response

from api.views.staff.staff_access import (
    ADD_TOKENS,
    CHANGE_PROVIDER,
    PROVIDER_MODEL,
    TOKEN_MODEL,
    InvalidStaffRequest,
    StaffView,
    can_view_models,
    find_requested_provider,
    read_provider_name,
    read_staff_body,
    render_success,
)
from providers import registry
from providers.admin.big_tables import record_in_history
from providers.choices import Mode
from providers.integers import parse_integer
from providers.models import Provider
from providers.protocol.json_types import JsonObject
from tokens import provider_counts
from tokens.imports import import_batches, token_file, token_import
from tokens.maintenance import check_now
from tokens.models import State, UpstreamToken
from tokens.outcomes.breaker_sharing import describe_open_breaker, find_open_breakers
from tokens.querysets import TokenQuerySet

CHECK_OUTCOMES = (
    "works",
    "rejected",
    "unproven",
    "rate_limited",
    "out_of_quota",
    "provider_failed",
    "unreadable",
)
HIGHEST_TOKEN_NUMBER = 999_999_999  # highest number of a token in the list
MOST_NAMED_LINES = 10  # malformed lines that a message names


# --- which tokens ---------------------------------------------------------------------------------
def select_tokens(request: Request) -> TokenQuerySet:
    """Return all tokens, or those of the provider in the request, in list order.

    Raises InvalidStaffRequest.
    """
    tokens = UpstreamToken.objects.order_by("created_at", "pk")
    if not read_provider_name(request):
        return tokens
    return tokens.filter(provider=find_requested_provider(request))


def select_token(tokens: TokenQuerySet, name: str) -> TokenQuerySet:
    """Return the one token that `name` means: its id, or its number in the list.

    Raises InvalidStaffRequest.
    """
    number = parse_integer(name, 0, HIGHEST_TOKEN_NUMBER)
    if number is not None:
        ids = list(tokens.values_list("pk", flat=True)[number : number + 1])
        if not ids:
            count = tokens.count()
            raise InvalidStaffRequest(
                f"There is no token number {name}: there are {count}, numbered from 0."
            )
        return UpstreamToken.objects.filter(pk=ids[0])
    try:
        token = tokens.filter(pk=UUID(name))
    except ValueError:
        raise InvalidStaffRequest(
            "A token is named by its id or by its number in the list."
        ) from None
    if not token.exists():
        raise InvalidStaffRequest(f"There is no token {name}.")
    return token


# --- the pool -------------------------------------------------------------------------------------
def build_pool_stats(request: Request) -> JsonObject:
    """Return the pool's counts under the keys of the K2Think proxy, and those of each provider.

    Raises InvalidStaffRequest.
    """
    tokens = select_tokens(request)
    counts_by_provider = provider_counts.count_by_provider(tokens)
    providers = Provider.objects.order_by("name")
    if name := read_provider_name(request):
        providers = providers.filter(name=name)
    total = sum(counts["total"] for counts in counts_by_provider.values())
    active = sum(counts["active"] for counts in counts_by_provider.values())
    breakers = {state.provider_id: describe_open_breaker(state) for state in find_open_breakers()}
    strikes = tokens.order_by("strikes").values_list("strikes").annotate(token_count=Count("pk"))
    return {
        "total_tokens": total,
        "active_tokens": active,
        "inactive_tokens": total - active,
        "current_index": provider_counts.find_next_position(tokens),
        "failure_distribution": {str(number): count for number, count in strikes},
        "max_failures": settings.MAX_TOKEN_FAILURES,
        "providers": [
            {
                "name": row.name,
                "mode": row.mode,
                "breaker": breakers.get(row.pk, "closed"),
                **counts_by_provider.get(row.pk, provider_counts.complete_counts({})),
            }
            for row in providers
        ],
    }


class PoolStats(StaffView):
    def get(self, request: Request) -> Response:
        return Response({"status": "success", "data": build_pool_stats(request)})


class ResetToken(StaffView):
    """Reset one token: enabled, without strikes or cooldown."""

    def post(self, request: Request, name: str) -> Response:
        token = select_token(select_tokens(request), name)
        record_in_history(cast(HttpRequest, request), token, "Reset.")
        token.reset_state()
        return render_success(f"Token {name} is reset.")


class ResetAllTokens(StaffView):
    """Reset every token; those that need no reset are not written."""

    def post(self, request: Request) -> Response:
        tokens = select_tokens(request)
        needs_reset = ~Q(state=State.ACTIVE) | Q(strikes__gt=0) | Q(rests_until__isnull=False)
        changed_tokens = tokens.filter(needs_reset)
        record_in_history(cast(HttpRequest, request), changed_tokens, "Reset.")
        count = changed_tokens.reset_state()
        return render_success(
            f"All tokens are reset: {count} of {tokens.count()} had to be changed."
        )


def describe_import(report: token_import.ImportReport) -> str:
    """Return the result of an import as a sentence.

    Malformed lines are named by their number; the lines themselves are not shown.
    """
    counts = report.verdict_counts
    parts = [f"{counts[token_import.NEW]} imported"]
    others = (
        token_import.UPDATED,
        token_import.KNOWN,
        token_import.TWICE_IN_FILE,
        token_import.OTHER_PROVIDER,
    )
    parts += [f"{counts[verdict]} {verdict}" for verdict in others if counts[verdict]]
    malformed = [line for line in report.verdicts if line.verdict == token_import.MALFORMED]
    if malformed:
        lines = [f"line {line.line}: {line.reason}" for line in malformed[:MOST_NAMED_LINES]]
        reasons = "; ".join(lines)
        if len(malformed) > MOST_NAMED_LINES:
            reasons += f" and {len(malformed) - MOST_NAMED_LINES} more"
        parts.append(f"{len(malformed)} {token_import.MALFORMED} ({reasons})")
    return f"{', '.join(parts)}."


class ReloadTokenFile(StaffView):
    """Read the token file again and import new tokens; known ones do not change."""

    post_permission = ADD_TOKENS

    def post(self, request: Request) -> Response:
        provider = find_requested_provider(request)
        try:
            report = token_file.import_token_file(provider)
        except token_file.NoTokenFile as error:
            raise InvalidStaffRequest(str(error)) from None
        message = f"{provider}: {describe_import(report)}"
        if not can_view_models(request.user, TOKEN_MODEL):
            return render_success(message)
        return render_success(message, data=build_pool_stats(request))


class CheckTokens(StaffView):
    """Check all tokens at their upstreams, those of one provider, or the one in "token".

    Few are checked now, many by the worker ("queued").
    """

    def post(self, request: Request) -> Response:
        tokens = select_tokens(request)
        name = read_staff_body(request).get("token", "")
        if name != "":
            tokens = select_token(tokens, str(name))
        inspection = check_now.check_or_queue(tokens)
        data = {"checked": inspection.outcomes.total(), **dict.fromkeys(CHECK_OUTCOMES, 0)}
        for outcome, count in inspection.outcomes.items():
            data[outcome.replace(" ", "_")] = count
        data["queued"] = inspection.queued
        return Response({"status": "success", "data": data})


class TokenList(StaffView):
    """List the tokens in list order, masked."""

    def get(self, request: Request) -> Response:
        masks = list(select_tokens(request).values_list("masked", flat=True))
        return Response({"status": "success", "tokens": masks})


class ImportTokens(StaffView):
    """Import a list of tokens; tokens that are not in it stay, as nothing is deleted here."""

    post_permission = ADD_TOKENS

    def post(self, request: Request) -> Response:
        tokens = read_staff_body(request).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise InvalidStaffRequest("“tokens” must be a list of texts, each one token.")
        provider = find_requested_provider(request)
        username = cast(HttpRequest, request).user.get_username()
        report, _ = import_batches.import_as_batch(
            provider, tokens, source="/admin/tokens/update", by=username
        )
        return render_success(
            f"{provider}: {describe_import(report)} Tokens that are not in the list stay."
        )


# --- the mode -------------------------------------------------------------------------------------
def update_provider_mode(provider: Provider, mode: object) -> None:
    """Write the provider's mode, guest or user; every process uses it in under a second.

    Raises InvalidStaffRequest.
    """
    if mode not in Mode.values:
        raise InvalidStaffRequest("The mode is “guest” or “user”.")
    if not is_mode_supported(provider, mode):
        raise InvalidStaffRequest(f"{provider} has no entrance for the mode {mode}.")
    Provider.objects.filter(pk=provider.pk).update(mode=str(mode))


def is_mode_supported(provider: Provider, mode: object) -> bool:
    """Return whether the provider's adapter is there and has this mode."""
    if provider.kind not in registry.list_adapter_kinds():
        return False
    return mode in registry.get_adapter_class(provider.kind).modes


class SwitchMode(StaffView):
    post_permission = CHANGE_PROVIDER

    def post(self, request: Request) -> Response:
        mode = read_staff_body(request).get("mode")
        provider = find_requested_provider(request)
        update_provider_mode(provider, mode)
        record_in_history(
            cast(HttpRequest, request), Provider.objects.filter(pk=provider.pk), f"Mode {mode}."
        )
        return render_success(f"{provider} is asked in {mode} mode within a second.", mode=mode)


class PoolStatus(StaffView):
    viewed_models = (TOKEN_MODEL, PROVIDER_MODEL)

    def get(self, request: Request) -> Response:
        provider = find_requested_provider(request)
        config = {
            "tokens_file": token_file.find_token_file(provider),
            "api_url": provider.base_url,
            "tool_support": settings.TOOL_SUPPORT,
            "debug_logging": settings.LOG_LEVEL == "DEBUG",
        }
        return Response(
            {"mode": provider.mode, "token_stats": build_pool_stats(request), "config": config}
        )
