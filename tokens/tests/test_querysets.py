import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from providers import vault
from providers.models import Provider
from tokens.models import State, UpstreamToken

pytestmark = pytest.mark.django_db
SECRET = "sk-made-up-secret-0123456789"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(name="p", kind="echo")


def token(provider: Provider, secret: str = SECRET, **fields: Any) -> UpstreamToken:
    row = UpstreamToken.from_secret(provider, secret, **fields)
    row.save()
    return row


def later(**span: float) -> datetime:
    return timezone.now() + timedelta(**span)


def only(row: UpstreamToken) -> Any:
    return UpstreamToken.objects.filter(pk=row.pk)


@pytest.mark.parametrize("change", ["add_cooldown", "mark_exhausted", "mark_as_failing"])
def test_what_another_process_met_changes_nothing_about_a_disabled_token(
    provider: Provider, change: str
) -> None:
    """Its reason says whether a check may enable it again, and whether it is being deleted."""
    row = token(provider, state="disabled", reason="auth: the key is void")
    assert getattr(only(row), change)(later(minutes=5), "rate limit: slow down") == 0
    found = only(row).get()
    assert (found.state, found.reason, found.rests_until) == (
        "disabled",
        "auth: the key is void",
        None,
    )


# --- rows -----------------------------------------------------------------------------------------
def test_a_token_is_stored_sealed_masked_and_bound_to_its_row(provider: Provider) -> None:
    row = token(provider)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tokens_upstreamtoken")
        stored = repr(cursor.fetchall())
    assert SECRET not in stored
    assert SECRET[6:-4] not in stored
    row.refresh_from_db()
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == SECRET
    assert (str(row), row.masked) == ("sk-mad…6789", "sk-mad…6789")
    with pytest.raises(vault.VaultError):
        vault.decrypt_secret(row.sealed, str(token(provider, "sk-another-secret").pk))


def test_a_token_stands_once_per_provider(provider: Provider) -> None:
    token(provider)
    with pytest.raises(IntegrityError), transaction.atomic():
        token(provider)
    token(Provider.objects.create(name="q", kind="echo"))
    assert UpstreamToken.objects.count() == 2


@pytest.mark.parametrize("fields", [{"state": "tired"}, {"state": ""}, {"weight": 0}], ids=repr)
def test_the_database_refuses_an_impossible_token(
    provider: Provider, fields: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        token(provider, **fields)


@pytest.mark.parametrize("count", [-1, "strikes", "requests", "failures"])
def test_counters_are_never_negative(provider: Provider, count: Any) -> None:
    name = "strikes" if count == -1 else count
    row = token(provider)
    with pytest.raises((IntegrityError, DataError)), transaction.atomic():
        only(row).update(**{name: -1})


def test_resting_is_told_by_the_time(provider: Provider) -> None:
    assert not token(provider).has_cooldown
    assert token(provider, "sk-2", rests_until=later(minutes=1)).has_cooldown
    assert not token(provider, "sk-3", rests_until=later(minutes=-1)).has_cooldown


# --- questions ------------------------------------------------------------------------------------
def test_usable_are_those_that_answer_now(provider: Provider) -> None:
    usable = {
        token(provider, "sk-plain"),
        token(provider, "sk-rested", rests_until=later(seconds=-1)),
        token(provider, "sk-not-yet-expired", expires_at=later(hours=1)),
        token(provider, "sk-refilled", state=State.EXHAUSTED, rests_until=later(seconds=-1)),
    }
    token(provider, "sk-resting", rests_until=later(hours=1))
    token(provider, "sk-expired", expires_at=later(seconds=-1))
    token(provider, "sk-exhausted", state=State.EXHAUSTED, rests_until=later(hours=1))
    token(provider, "sk-disabled", state=State.DISABLED)
    assert set(UpstreamToken.objects.filter_usable()) == usable
    assert UpstreamToken.objects.count_by_activity() == {"total": 8, "active": 4, "inactive": 4}
    assert UpstreamToken.objects.none().count_by_activity() == {
        "total": 0,
        "active": 0,
        "inactive": 0,
    }


# --- changes --------------------------------------------------------------------------------------
def test_the_strike_that_reaches_the_limit_disables(provider: Provider) -> None:
    row = token(provider)
    found = []
    for number in (1, 2, 3):
        assert only(row).add_strike(3, f"auth: {number}") == 1
        row.refresh_from_db()
        found.append((row.strikes, row.state, row.reason))
    assert found == [(1, "active", "auth: 1"), (2, "active", "auth: 2"), (3, "disabled", "auth: 3")]
    assert row.last_failure_at is not None


def test_a_strike_leaves_a_disabled_token_as_it_is(provider: Provider) -> None:
    row = token(provider, state=State.DISABLED, reason="by hand")
    assert only(row).add_strike(3, "auth") == 0
    row.refresh_from_db()
    assert (row.strikes, row.reason) == (0, "by hand")


@pytest.mark.parametrize(("limit", "strikes"), [(1, 0), (2, 1), (3, 7)])
def test_a_lower_limit_counts_at_the_next_strike(
    provider: Provider, limit: int, strikes: int
) -> None:
    row = token(provider, strikes=strikes)
    only(row).add_strike(limit, "auth")
    row.refresh_from_db()
    assert row.state == "disabled"


def test_a_strike_on_an_exhausted_token_keeps_it_exhausted(provider: Provider) -> None:
    row = token(provider, state=State.EXHAUSTED)
    only(row).add_strike(3, "auth")
    row.refresh_from_db()
    assert (row.state, row.strikes) == ("exhausted", 1)


def test_a_token_that_was_failing_by_its_providers_fault_keeps_its_strikes(
    provider: Provider,
) -> None:
    row = token(provider, state="failing", strikes=2, rests_until=later(minutes=1))
    other = token(provider, "sk-2", state=State.EXHAUSTED, rests_until=later(minutes=1))
    assert UpstreamToken.objects.clear_failing("request") == 1
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.state, row.strikes, row.rests_until) == ("active", 2, None)
    assert other.state == "exhausted"


def test_a_rest_is_only_ever_prolonged(provider: Provider) -> None:
    row, long = token(provider), later(hours=1)
    assert only(row).add_cooldown(long, "first") == 1
    assert only(row).add_cooldown(later(minutes=1), "second") == 0
    row.refresh_from_db()
    assert (row.rests_until, row.reason) == (long, "first")
    assert only(row).add_cooldown(later(hours=2), "third") == 1


def test_an_exhausted_token_rests_until_its_reset(provider: Provider) -> None:
    row, until = token(provider), later(hours=5)
    assert only(row).mark_exhausted(until, "quota") == 1
    row.refresh_from_db()
    assert (row.state, row.rests_until, row.strikes) == ("exhausted", until, 0)


@pytest.mark.parametrize("deed", ["mark_exhausted", "mark_recovered"])
def test_nothing_but_a_reset_enables_a_disabled_token(provider: Provider, deed: str) -> None:
    row = token(provider, state=State.DISABLED, strikes=3)
    arguments = (later(hours=1), "quota") if deed == "mark_exhausted" else ()
    assert getattr(only(row), deed)(*arguments) == 0
    row.refresh_from_db()
    assert (row.state, row.strikes) == ("disabled", 3)
    assert only(row).reset_state() == 1
    row.refresh_from_db()
    assert (row.state, row.strikes, row.rests_until, row.reason) == ("active", 0, None, "")


def test_a_good_answer_ends_strikes_and_quota_trouble(provider: Provider) -> None:
    row = token(
        provider, state=State.EXHAUSTED, strikes=2, rests_until=later(hours=1), reason="quota"
    )
    assert only(row).mark_recovered() == 1
    row.refresh_from_db()
    assert (row.state, row.strikes, row.rests_until, row.reason) == ("active", 0, None, "")


def test_a_good_answer_does_not_wake_an_active_token_that_the_upstream_told_to_rest(
    provider: Provider,
) -> None:
    row = token(provider, strikes=1, rests_until=later(hours=1))
    only(row).mark_recovered()  # of a request that began before the 429
    row.refresh_from_db()
    assert row.strikes == 0
    assert row.has_cooldown


def test_disabling_says_why_in_a_bounded_text(provider: Provider) -> None:
    row = token(provider)
    for deed in (
        lambda: only(row).mark_disabled("x" * 999),
        lambda: only(row).add_strike(3, "y" * 999),
    ):
        deed()
        row.refresh_from_db()
        assert len(row.reason) == 200
    assert row.state == "disabled"


@pytest.mark.usefixtures("transactional_db")
def test_strikes_of_several_connections_at_once_are_all_counted() -> None:
    row = token(Provider.objects.create(name="p", kind="echo"))
    start = threading.Barrier(4)

    def strike() -> None:
        try:
            start.wait(10)
            for _ in range(10):
                only(row).add_strike(100, "auth")
        finally:
            connection.close()

    threads = [threading.Thread(target=strike) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row.refresh_from_db()
    assert row.strikes == 40
