"""Two machines whose clocks differ agree on who has a lease: what counts is the database's
clock.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from conversations.documents import document_store, embeddings
from conversations.models import Document
from providers.database.leases import read_clock_difference
from providers.models import Provider
from tokens.models import Refresh, UpstreamToken
from tokens.outcomes.upstream_call import COOLDOWN
from tokens.pool import state_writer, stream_claims, token_loader
from tokens.pool.pool import Pool
from tokens.pool.state_changes import StateChange
from tokens.pool.written_batches import NumberedBatches
from tokens.renewal import renew_pool, renew_token
from tokens.renewal.renew_token import RenewalLease, RenewalOrder

pytestmark = pytest.mark.django_db
WRONG = (timedelta(hours=-1), timedelta(hours=1))


@pytest.fixture
def token() -> UpstreamToken:
    row = UpstreamToken.from_secret(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
    row.save()
    return row


@pytest.fixture(params=WRONG, ids=["behind", "ahead"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """From now on this process's clock is wrong, in every module that could ask it about leases."""
    off = request.param

    class WrongTime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + off

    now = time.time
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now(UTC) + off)
    monkeypatch.setattr("time.time", lambda: now() + off.total_seconds())
    for module in (
        "providers.database.leases",
        "tokens.renewal.renew_token",
        "tokens.renewal.renew_pool",
        "tokens.pool.state_writer",
        "tokens.pool.token_directory",
    ):
        monkeypatch.setattr(f"{module}.datetime", WrongTime)
    return off


def seconds_left(row: Any, field: str) -> float:
    """Of a lease, as the database sees it."""
    table = type(row).objects.filter(pk=row.pk)
    end, now = table.annotate(now=Now()).values_list(field, "now").get()
    return float((end - now).total_seconds())


def test_a_stream_has_one_owner(
    token: UpstreamToken, wrong_clock: timedelta, settings: Any
) -> None:
    assert stream_claims.claim_or_list_busy(token.pk, "a" * 32, token.provider_id) == set()
    assert settings.CLAIM_SECONDS - 10 < seconds_left(token, "busy_until") <= settings.CLAIM_SECONDS
    assert stream_claims.claim_or_list_busy(token.pk, "b" * 32, token.provider_id) == {token.pk}
    stream_claims.renew_stream_leases({token.pk: "a" * 32})
    assert settings.CLAIM_SECONDS - 10 < seconds_left(token, "busy_until") <= settings.CLAIM_SECONDS
    UpstreamToken.objects.update(busy_until=Now() - timedelta(seconds=1))
    assert stream_claims.claim_or_list_busy(token.pk, "b" * 32, token.provider_id) == set()


def test_a_token_is_renewed_by_one(
    token: UpstreamToken, wrong_clock: timedelta, settings: Any
) -> None:
    order = RenewalOrder(token.pk, token.sealed)
    lease = renew_token.claim_renewal_lease(order)
    assert isinstance(lease, RenewalLease)
    left = seconds_left(token, "renewing_until")
    assert settings.RENEW_LEASE_SECONDS - 10 < left <= settings.RENEW_LEASE_SECONDS
    assert renew_token.claim_renewal_lease(order) is None
    renew_token.release_renewal_lease(token.pk, lease.ends_at)
    again = renew_token.claim_renewal_lease(order)
    assert isinstance(again, RenewalLease)
    UpstreamToken.objects.update(renewing_until=Now() - timedelta(seconds=1))
    assert isinstance(renew_token.claim_renewal_lease(order), RenewalLease)
    renew_token.release_renewal_lease(token.pk, again.ends_at)  # over, and another's by now
    assert renew_token.claim_renewal_lease(order) is None


def test_a_pool_is_renewed_by_one_and_once_in_its_window(
    token: UpstreamToken, wrong_clock: timedelta
) -> None:
    provider = token.provider_id
    began_at = renew_pool.claim_run(provider)
    assert began_at is not None
    assert renew_pool.claim_run(provider, force=True) is None
    assert renew_pool.renew_run_lease(provider, began_at)
    renew_pool.release_run(provider, began_at, renew_pool.RenewalReport())
    assert Refresh.objects.get().running_until is None
    assert renew_pool.claim_run(provider) is None  # within the window
    forced = renew_pool.claim_run(provider, force=True)
    assert forced is not None
    assert not renew_pool.renew_run_lease(provider, began_at)
    Refresh.objects.update(
        running_until=Now() - timedelta(seconds=1), began_at=Now() - timedelta(days=1)
    )
    assert renew_pool.claim_run(provider) is not None


def test_a_document_is_taken_in_by_one(alice: Any, wrong_clock: timedelta) -> None:
    document = Document.objects.create(user=alice.user, digest="d")
    lease = document_store.claim_document(document.pk)
    assert lease is not None
    assert document_store.claim_document(document.pk) is None
    longer = document_store.renew_claim(lease)
    assert longer is not None
    assert document_store.renew_claim(lease) is None or lease.ends_at == longer.ends_at
    Document.objects.update(alive_until=Now() - timedelta(seconds=1))
    assert document_store.claim_document(document.pk) is not None


def test_a_documents_embeddings_are_made_by_one(alice: Any, wrong_clock: timedelta) -> None:
    document = Document.objects.create(user=alice.user, digest="d", state="ingested")
    document.passages.create(number=0, start=0, end=1, score=1, text="x")
    assert embeddings.claim_next_document("maker") == document.pk
    assert embeddings.claim_next_document("maker") is None
    assert 0 < seconds_left(document, "alive_until") <= embeddings.LEASE_SECONDS


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the process's own")
def test_a_rest_takes_as_long_as_it_should_whatever_the_clocks_say(
    token: UpstreamToken, wrong_clock: timedelta
) -> None:
    assert abs(read_clock_difference() + wrong_clock) < timedelta(seconds=10)
    until = (
        datetime.now(UTC) + wrong_clock + timedelta(seconds=600)
    )  # as this process sees the time
    state_writer.write_change_rows(
        NumberedBatches().start_batch([StateChange(COOLDOWN, token.pk, until, "rate limit")])
    )
    assert 590 < seconds_left(token, "rests_until") <= 600
    (row,) = token_loader.read_changed_tokens(-1).rows
    assert row.rests_until is not None
    assert abs(row.rests_until - until) < timedelta(seconds=10)
    assert Pool().version_in_force == -1
