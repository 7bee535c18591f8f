"""Move tokens to another provider: after a mistake in an import, or when a service moves.

A token is moved with its secret, which stays sealed. From then on its secret is sent to the new
provider, so only people who may change tokens may move them. Its state begins anew, because it was
about the old provider.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from providers.models import Provider
from tokens.models import UpstreamToken

MOVED = "moved"
THERE_ALREADY = "there already"  # it is a token of that provider
KNOWN_THERE = "known there"  # that provider has a token with the same secret
OF_ACCOUNT = "of an account"  # an account signs in at its own provider
RENEWED_ELSEWHERE = "renewed in another way"  # a refresh token is for one kind of upstream


class TargetRefused(Exception):
    """No token may be moved to this provider; the message says why."""


def require_target(target: Provider) -> None:
    """Raise TargetRefused unless tokens may be moved to the provider."""
    if target.set_aside_reason:
        text = _("%(provider)s is set aside: %(reason)s")
        raise TargetRefused(text % {"provider": target, "reason": target.set_aside_reason})


def move_tokens(token_ids: Collection[UUID], target: Provider) -> Counter[str]:
    """Move the tokens with these ids to `target`, and return how many had which outcome.

    Writes in one transaction, or in one for each token when an import adds one of their secrets
    meanwhile. Raises TargetRefused.
    """
    require_target(target)
    try:
        with transaction.atomic():
            return _move_at_once(token_ids, target)
    except IntegrityError:  # somebody imported one of the secrets meanwhile
        return _move_one_by_one(token_ids, target)


def plan_moves(token_ids: Collection[UUID], target: Provider) -> dict[UUID, str]:
    """Return the outcome that moving each token would have. Writes nothing."""
    rows = UpstreamToken.objects.filter(pk__in=token_ids).select_related("provider")
    tokens = list(rows.order_by("created_at", "pk"))
    known = find_known_fingerprints(tokens, target)
    outcomes: dict[UUID, str] = {}
    for token in tokens:
        outcome = find_move_problem(token, target)
        if not outcome:
            outcome = KNOWN_THERE if token.fingerprint in known else MOVED
            known.add(token.fingerprint)  # two providers may have the same secret
        outcomes[token.pk] = outcome
    return outcomes


def find_move_problem(token: UpstreamToken, target: Provider) -> str:
    """Return the outcome that keeps the token where it is; empty when it may be moved."""
    if token.provider_id == target.pk:
        return THERE_ALREADY
    if token.account_id is not None:
        return OF_ACCOUNT
    if token.sealed_refresh and token.provider.kind != target.kind:
        return RENEWED_ELSEWHERE
    return ""


def find_known_fingerprints(tokens: Sequence[UpstreamToken], target: Provider) -> set[str]:
    """Return the fingerprints of these tokens that the provider has already."""
    fingerprints = [token.fingerprint for token in tokens if token.provider_id != target.pk]
    known = target.tokens.filter(fingerprint__in=fingerprints)
    return set(known.values_list("fingerprint", flat=True))


def _move_at_once(token_ids: Collection[UUID], target: Provider) -> Counter[str]:
    outcomes = plan_moves(token_ids, target)
    moved_ids = [token_id for token_id, outcome in outcomes.items() if outcome == MOVED]
    rows = UpstreamToken.objects.filter(pk__in=moved_ids)
    rows.reset_state()
    rows.update(provider=target)
    return Counter(outcomes.values())


def _move_one_by_one(token_ids: Collection[UUID], target: Provider) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for token_id in token_ids:
        try:
            with transaction.atomic():
                outcomes += _move_at_once([token_id], target)
        except IntegrityError:
            outcomes[KNOWN_THERE] += 1
    return outcomes
