"""Two machines whose clocks differ agree on who has a lease: what counts is the database's clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from conversations.documents import embed, rows
from conversations.models import Document
from providers.leases import read_clock_difference
from providers.models import Provider
from tokens import books, claims, reading, refreshing, renewal
from tokens.batches import Batches
from tokens.calls import REST
from tokens.models import Refresh, UpstreamToken
from tokens.notes import Note
from tokens.pool import Pool
from tokens.renewal import Lease, Order

pytestmark = pytest.mark.django_db
WRONG = (timedelta(hours=-1), timedelta(hours=1))


@pytest.fixture
def token() -> UpstreamToken:
    row = UpstreamToken.of(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
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
    for module in ("providers.leases", "tokens.renewal", "tokens.refreshing", "tokens.books", "tokens.pool"):
        monkeypatch.setattr(f"{module}.datetime", WrongTime)
    return off


def seconds_left(row: Any, field: str) -> float:
    """Of a lease, as the database sees it."""
    table = type(row).objects.filter(pk=row.pk)
    end, now = table.annotate(now=Now()).values_list(field, "now").get()
    return float((end - now).total_seconds())


def test_a_stream_has_one_owner(token: UpstreamToken, wrong_clock: timedelta, settings: Any) -> None:
    assert claims.claim(token.pk, "a" * 32, token.provider_id) == set()
    assert settings.CLAIM_SECONDS - 10 < seconds_left(token, "busy_until") <= settings.CLAIM_SECONDS
    assert claims.claim(token.pk, "b" * 32, token.provider_id) == {token.pk}
    claims.renew_claims({token.pk: "a" * 32})
    assert settings.CLAIM_SECONDS - 10 < seconds_left(token, "busy_until") <= settings.CLAIM_SECONDS
    UpstreamToken.objects.update(busy_until=Now() - timedelta(seconds=1))
    assert claims.claim(token.pk, "b" * 32, token.provider_id) == set()


def test_a_token_is_renewed_by_one(token: UpstreamToken, wrong_clock: timedelta, settings: Any) -> None:
    order = Order(token.pk, token.sealed)
    lease = renewal.take_lease(order)
    assert isinstance(lease, Lease)
    left = seconds_left(token, "renewing_until")
    assert settings.RENEW_LEASE_SECONDS - 10 < left <= settings.RENEW_LEASE_SECONDS
    assert renewal.take_lease(order) is None
    renewal.release(token.pk, lease.until)
    again = renewal.take_lease(order)
    assert isinstance(again, Lease)
    UpstreamToken.objects.update(renewing_until=Now() - timedelta(seconds=1))
    assert isinstance(renewal.take_lease(order), Lease)
    renewal.release(token.pk, again.until)  # over, and another's by now
    assert renewal.take_lease(order) is None


def test_a_pool_is_renewed_by_one_and_once_in_its_window(token: UpstreamToken, wrong_clock: timedelta) -> None:
    provider = token.provider_id
    began_at = refreshing.begin(provider)
    assert began_at is not None
    assert refreshing.begin(provider, force=True) is None
    assert refreshing.renew_run(provider, began_at)
    refreshing.end(provider, began_at, refreshing.Report())
    assert Refresh.objects.get().running_until is None
    assert refreshing.begin(provider) is None  # within the window
    forced = refreshing.begin(provider, force=True)
    assert forced is not None
    assert not refreshing.renew_run(provider, began_at)
    Refresh.objects.update(running_until=Now() - timedelta(seconds=1), began_at=Now() - timedelta(days=1))
    assert refreshing.begin(provider) is not None


def test_a_document_is_taken_in_by_one(alice: Any, wrong_clock: timedelta) -> None:
    document = Document.objects.create(user=alice.user, digest="d")
    lease = rows.claim_document(document.pk)
    assert lease is not None
    assert rows.claim_document(document.pk) is None
    longer = rows.renew_claim(lease)
    assert longer is not None
    assert rows.renew_claim(lease) is None or lease.until == longer.until
    Document.objects.update(alive_until=Now() - timedelta(seconds=1))
    assert rows.claim_document(document.pk) is not None


def test_a_documents_embeddings_are_made_by_one(alice: Any, wrong_clock: timedelta) -> None:
    document = Document.objects.create(user=alice.user, digest="d", state="ingested")
    document.passages.create(number=0, start=0, end=1, score=1, text="x")
    assert embed.claim_next_document("maker") == document.pk
    assert embed.claim_next_document("maker") is None
    assert 0 < seconds_left(document, "alive_until") <= embed.LEASE_SECONDS


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the process's own")
def test_a_rest_takes_as_long_as_it_should_whatever_the_clocks_say(
    token: UpstreamToken, wrong_clock: timedelta
) -> None:
    assert abs(read_clock_difference() + wrong_clock) < timedelta(seconds=10)
    until = datetime.now(UTC) + wrong_clock + timedelta(seconds=600)  # as this process sees the time
    books.write_note_rows(Batches().make([Note(REST, token.pk, until, "rate limit")]))
    assert 590 < seconds_left(token, "rests_until") <= 600
    (row,) = reading.read(-1).rows
    assert abs(row[reading.COLUMNS.index("rests_until")] - until) < timedelta(seconds=10)
    assert Pool().seen == -1
