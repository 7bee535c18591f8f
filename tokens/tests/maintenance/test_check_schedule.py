"""Every token is checked once per period, a slice each minute."""

from uuid import UUID

import pytest

from providers.models import Provider
from tokens.maintenance import check_schedule
from tokens.models import UpstreamToken

NOON = 1_800_000_000


@pytest.fixture
def clock(db, monkeypatch):
    """The time of the sweep, which stands still until a test sets it."""

    class Clock:
        now = NOON

        def time(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(check_schedule, "time", found)
    return found


def tokens_at(provider, *places, **fields):
    """A token at each of these places of the circle, from 0 to 1."""
    made = []
    for number, place in enumerate(places):
        token_id = UUID(
            int=(int(place * check_schedule.CIRCLE_SIZE) << check_schedule.PLACE_SHIFT)
            + 1_000 * provider.pk
            + number
        )
        made.append(
            UpstreamToken.from_secret(
                provider, f"sk-{place}-{number}-{provider}", id=token_id, **fields
            )
        )
    UpstreamToken.objects.bulk_create(made)
    return [row.pk for row in made]


@pytest.fixture
def pool(db):
    return Provider.objects.create(name="p", kind="echo", needs_token=False)


def claim_ids():
    return set(check_schedule.claim_due_tokens().values_list("pk", flat=True))


def claim_each_minute(clock, minutes):
    """What is taken in each of the next minutes."""
    found = []
    for _ in range(minutes):
        found.append(claim_ids())
        clock.now += 60
    return found


@pytest.mark.settings(CHECK_SECONDS=600)
@pytest.mark.parametrize("begins", [0, 7])
def test_a_period_goes_through_all_tokens_once_a_part_each_minute(clock, pool, begins):
    clock.now += 60 * begins
    ids = tokens_at(pool, *(number / 100 for number in range(100)))
    found = claim_each_minute(clock, 10)
    assert sorted(token for turn in found for token in turn) == ids
    assert {len(turn) for turn in found} == {10}
    assert claim_each_minute(clock, 10) == found, "and so does the next one"


def test_the_tokens_of_a_minute_are_taken_once(clock, pool):
    tokens_at(pool, *(number / 100 for number in range(100)))
    assert len(claim_ids()) in (1, 2)
    assert claim_ids() == set()
    clock.now += 60
    assert claim_ids()


@pytest.mark.settings(CHECK_SECONDS=600)
def test_minutes_that_were_missed_are_made_up_for_within_a_period(clock, pool):
    ids = tokens_at(pool, *(number / 100 for number in range(50)))
    claim_ids()
    clock.now += 86_400
    assert claim_ids() == set(ids)
    clock.now += 60
    assert len(claim_ids()) <= 10


@pytest.mark.settings(CHECK_SECONDS=600)
def test_a_clock_that_was_ahead_does_not_end_the_checks(clock, pool):
    ids = tokens_at(pool, *(number / 100 for number in range(50)))
    clock.now += 86_400 * 365
    claim_ids()
    clock.now = NOON
    assert set().union(*claim_each_minute(clock, 10)) == set(ids)


@pytest.mark.settings(CHECK_SECONDS=600, CHECKS_PER_MINUTE=4)
def test_a_provider_is_asked_about_so_many_tokens_a_minute_and_none_is_left_out_for_ever(
    clock, pool
):
    ids = tokens_at(pool, *(number / 100 for number in range(100)))
    other = Provider.objects.create(name="other", kind="echo", needs_token=False)
    tokens_at(other, *(number / 20 for number in range(20)))
    found = [{token for token in turn if token in ids} for turn in claim_each_minute(clock, 50)]
    assert {len(turn) for turn in found} == {4}
    for round_ in (found[:25], found[25:]):
        assert set().union(*round_) == set(ids), "each of them has its turn in 25 minutes"


@pytest.mark.settings(CHECK_SECONDS=600, CHECKS_PER_MINUTE=4)
def test_all_periodic_checks_of_a_minute_share_its_bound(clock, pool):
    tokens_at(pool, *(number / 100 for number in range(100)))
    assert check_schedule.claim_checks(pool.pk, 3) == 3
    assert len(claim_ids()) == 1
    assert check_schedule.claim_checks(pool.pk, 3) == 0
    clock.now += 60
    assert check_schedule.claim_checks(pool.pk, 9) == 4


def test_a_run_that_another_one_was_faster_than_takes_nothing(clock, pool, monkeypatch):
    tokens_at(pool, *(number / 100 for number in range(100)))
    load = check_schedule.get_or_create_progress

    def late(provider_id, now):
        stale = load(provider_id, now)
        monkeypatch.setattr(check_schedule, "get_or_create_progress", load)
        assert claim_ids()
        return stale

    monkeypatch.setattr(check_schedule, "get_or_create_progress", late)
    assert claim_ids() == set()


@pytest.mark.settings(CHECK_SECONDS=60)
def test_due_are_those_that_a_person_did_not_switch_off(clock, pool):
    off = Provider.objects.create(name="off", kind="echo", enabled=False)
    guest = Provider.objects.create(name="guest", kind="echo", mode="guest")
    wanted = tokens_at(pool, 0.1, 0.2) + tokens_at(pool, 0.3, state="disabled", reason="auth: no")
    tokens_at(pool, 0.4, state="disabled", reason="by authority")
    tokens_at(pool, 0.5, state="disabled", reason="authorities said so")
    tokens_at(off, 0.6)
    tokens_at(guest, 0.7)
    assert claim_ids() == set(wanted)
