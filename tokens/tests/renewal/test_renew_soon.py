"""Tokens are renewed before they end."""

from datetime import UTC, datetime, timedelta

from providers.database.database_threads import run_in_thread
from tokens.models import UpstreamAccount, UpstreamToken
from tokens.tasks import refresh_pool, renew_soon


async def test_what_ends_soon_is_renewed_and_nothing_else(pair, site):
    await run_in_thread(
        UpstreamToken.objects.filter(pk=pair[1].pk).update,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    assert await run_in_thread(renew_soon) == 1
    assert site.renewals == ["refresh-a"]
    assert await run_in_thread(renew_soon) == 0


async def test_what_was_refused_is_left_to_its_next_use(pair, site):
    site.refresh.clear()
    assert await run_in_thread(renew_soon) == 0
    assert len(site.renewals) == 2
    assert await run_in_thread(renew_soon) == 0
    assert len(site.renewals) == 2


async def test_an_account_without_a_token_gets_one(site, provider):
    def make():
        account = UpstreamAccount(provider=provider, email="june@example.org")
        account.seal_password("a password")
        account.save()

    await run_in_thread(make)
    await run_in_thread(renew_soon)
    assert (await run_in_thread(UpstreamToken.objects.get)).masked == "ju…@example.org"
    assert await run_in_thread(refresh_pool, provider.pk) == 1
