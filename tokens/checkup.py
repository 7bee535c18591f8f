"""Whether tokens still work: each is asked about at its upstream by the adapter's `check`, and the answer is applied.

works          one that auth failures disabled is enabled again
rejected       one that can be renewed is, and asked about once more; else a strike
rate limited, out of quota, provider failed, unreadable, unproven: nothing is changed
An upstream that answers the same question without any token proves nothing about one: its tokens are "unproven".
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from providers import catalogue, registry, vault
from providers.base import BaseAdapter
from providers.chat import Credential
from providers.choices import Mode
from providers.exceptions import AuthRejected, Contended, QuotaExhausted, RateLimited, UpstreamError, UpstreamTimeout
from providers.http import Client
from providers.models import Provider
from tokens.models import State, UpstreamToken
from tokens.querysets import AUTH
from tokens.renewal import Order, Renewals

__all__ = ["AUTH", "REJECTED", "UNPROVEN", "WORKS", "Finding", "adapter", "check", "credential_of"]

AT_ONCE = 25  # upstream calls at the same time
PATIENCE_SECONDS = 20.0
FORBIDDEN = 403  # of a key that is restricted, for the list of models that the plain check asks for

WORKS, REJECTED, UNPROVEN = "works", "rejected", "unproven"
OTHERS = {
    RateLimited: "rate limited",
    QuotaExhausted: "out of quota",
    vault.VaultError: "unreadable",
    Contended: UNPROVEN,
    UpstreamError: "provider failed",
}
Problem = UpstreamError | vault.VaultError


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one token's check; `reason` is empty when it works."""

    token: UpstreamToken
    outcome: str
    reason: str = ""


def check(tokens: QuerySet[UpstreamToken], *, dry_run: bool = False) -> Iterator[Finding]:
    """Check these tokens, some at a time, and apply what is found; no transaction is open while upstreams are asked.
    Those of providers that are asked as a guest are left out.
    """
    ids = list(tokens.values_list("pk", flat=True))
    for start in range(0, len(ids), AT_ONCE):
        rows = UpstreamToken.objects.filter(pk__in=ids[start : start + AT_ONCE], provider__kind__in=registry.kinds())
        batch = list(rows.exclude(provider__mode=Mode.GUEST).select_related("provider"))
        found = asyncio.run(answers(batch, renew=not dry_run))
        for token, (outcome, problem) in zip(batch, found, strict=True):
            if not dry_run:
                apply(token, outcome, problem)
            yield Finding(token, outcome, str(problem or ""))


def apply(token: UpstreamToken, outcome: str, problem: Problem | None) -> None:
    """Write what the outcome means; what somebody else changed meanwhile stays."""
    row = UpstreamToken.objects.filter(pk=token.pk, sealed=token.sealed)
    if outcome == WORKS:
        row.filter(state=State.DISABLED, reason__startswith=AUTH).reset()
    elif outcome == REJECTED:
        row.strike(settings.MAX_TOKEN_FAILURES, f"{AUTH}: {problem}")


async def answers(tokens: Sequence[UpstreamToken], *, renew: bool) -> list[tuple[str, Problem | None]]:
    """The outcome for each token, in their order; with `renew` those that need it are renewed."""
    client = Client()
    renewals = Renewals() if renew else None
    providers = {token.provider_id: token.provider for token in tokens}
    try:
        async with asyncio.TaskGroup() as group:
            open_doors = {
                key: group.create_task(ask(adapter(provider, client), Credential(None, "")))
                for key, provider in providers.items()
            }
            asked = [group.create_task(ask_about(adapter(token.provider, client), token, renewals)) for token in tokens]
    finally:
        client.close()
    return [
        judge(task.result(), open_doors[token.provider_id].result() is None)
        for token, task in zip(tokens, asked, strict=True)
    ]


def judge(problem: Problem | None, open_door: bool) -> tuple[str, Problem | None]:
    if problem is None:
        return (UNPROVEN if open_door else WORKS), None
    if isinstance(problem, AuthRejected):
        return REJECTED, problem
    return next(word for kind, word in OTHERS.items() if isinstance(problem, kind)), problem


def adapter(provider: Provider, client: Client) -> BaseAdapter:
    """The provider's adapter outside the gateway. Raises KeyError when there is none of that kind."""
    return registry.adapter_class(provider.kind)(catalogue.upstream(provider), client)


async def ask_about(adapter: BaseAdapter, token: UpstreamToken, renewals: Renewals | None) -> Problem | None:
    """What is wrong with the token, which is renewed first where it must be and can be."""
    lasts = bool(token.sealed) and (token.expires_at is None or token.expires_at > timezone.now())
    problem: Problem | None = Contended("It is renewed before its next use.")
    if lasts or not token.renewable:
        problem = await ask_with(adapter, token)
    wanted = not lasts or isinstance(problem, AuthRejected)
    if not token.renewable or renewals is None or not wanted:
        return problem
    order = Order(token.pk, token.sealed, rejected=lasts, revive=token.reason.startswith(AUTH))
    try:
        token.sealed = (await renewals.renew(adapter, order)).sealed
    except (UpstreamError, vault.VaultError) as error:
        return error
    return await ask_with(adapter, token)


async def ask_with(adapter: BaseAdapter, token: UpstreamToken) -> Problem | None:
    try:
        credential = credential_of(token)
    except vault.VaultError as error:
        return error
    return await ask(adapter, credential)


async def ask(adapter: BaseAdapter, credential: Credential) -> Problem | None:
    """What is wrong with the credential or its upstream, or None."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await adapter.check(credential)
    except UpstreamError as error:
        if error.upstream_status == FORBIDDEN and type(adapter).check is BaseAdapter.check:
            return Contended("It may not list models, which says nothing about its answers.")
        return error
    except TimeoutError:
        return UpstreamTimeout("The upstream took too long.")
    return None


def credential_of(token: UpstreamToken) -> Credential:
    """Raises VaultError when the secret cannot be opened."""
    return Credential(token.pk, vault.unseal(token.sealed, str(token.pk)))
