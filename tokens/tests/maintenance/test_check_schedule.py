"""Every token is checked once per period, a slice each minute; nobody's fault but the token's own
counts against it.
"""

from uuid import UUID, uuid4

import pytest

from providers import registry, vault
from providers.adapters import openai_compatible
from providers.database.database_threads import run_in_thread
from providers.exceptions import UpstreamError
from providers.models import Provider
from providers.network.clients import Clients
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply
from tokens.maintenance import check_schedule, token_check
from tokens.models import UpstreamToken
from tokens.renewal.renew_token import RenewalOrder, Renewals
from tokens.tasks import check_disabled, check_due
from tokens.tests.site import Renewing, Site

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


def taken():
    return set(check_schedule.claim_due_tokens().values_list("pk", flat=True))


def turns(clock, minutes):
    """What is taken in each of the next minutes."""
    found = []
    for _ in range(minutes):
        found.append(taken())
        clock.now += 60
    return found


# --- when -----------------------------------------------------------------------------------------
@pytest.mark.settings(CHECK_SECONDS=600)
@pytest.mark.parametrize("begins", [0, 7])
def test_a_period_goes_through_all_tokens_once_a_part_each_minute(clock, pool, begins):
    clock.now += 60 * begins
    ids = tokens_at(pool, *(number / 100 for number in range(100)))
    found = turns(clock, 10)
    assert sorted(token for turn in found for token in turn) == ids
    assert {len(turn) for turn in found} == {10}
    assert turns(clock, 10) == found, "and so does the next one"


def test_the_tokens_of_a_minute_are_taken_once(clock, pool):
    tokens_at(pool, *(number / 100 for number in range(100)))
    assert len(taken()) in (1, 2)
    assert taken() == set()
    clock.now += 60
    assert taken()


@pytest.mark.settings(CHECK_SECONDS=600)
def test_minutes_that_were_missed_are_made_up_for_within_a_period(clock, pool):
    ids = tokens_at(pool, *(number / 100 for number in range(50)))
    taken()
    clock.now += 86_400
    assert taken() == set(ids)
    clock.now += 60
    assert len(taken()) <= 10


@pytest.mark.settings(CHECK_SECONDS=600)
def test_a_clock_that_was_ahead_does_not_end_the_checks(clock, pool):
    ids = tokens_at(pool, *(number / 100 for number in range(50)))
    clock.now += 86_400 * 365
    taken()
    clock.now = NOON
    assert set().union(*turns(clock, 10)) == set(ids)


@pytest.mark.settings(CHECK_SECONDS=600, CHECKS_PER_MINUTE=4)
def test_a_provider_is_asked_about_so_many_tokens_a_minute_and_none_is_left_out_for_ever(
    clock, pool
):
    ids = tokens_at(pool, *(number / 100 for number in range(100)))
    other = Provider.objects.create(name="other", kind="echo", needs_token=False)
    tokens_at(other, *(number / 20 for number in range(20)))
    found = [{token for token in turn if token in ids} for turn in turns(clock, 50)]
    assert {len(turn) for turn in found} == {4}
    for round_ in (found[:25], found[25:]):
        assert set().union(*round_) == set(ids), "each of them has its turn in 25 minutes"


@pytest.mark.settings(CHECK_SECONDS=600, CHECKS_PER_MINUTE=4)
def test_all_periodic_checks_of_a_minute_share_its_bound(clock, pool):
    tokens_at(pool, *(number / 100 for number in range(100)))
    assert check_schedule.claim_checks(pool.pk, 3) == 3
    assert len(taken()) == 1
    assert check_schedule.claim_checks(pool.pk, 3) == 0
    clock.now += 60
    assert check_schedule.claim_checks(pool.pk, 9) == 4


def test_a_run_that_another_one_was_faster_than_takes_nothing(clock, pool, monkeypatch):
    tokens_at(pool, *(number / 100 for number in range(100)))
    load = check_schedule.get_or_create_progress

    def late(provider_id, now):
        stale = load(provider_id, now)
        monkeypatch.setattr(check_schedule, "get_or_create_progress", load)
        assert taken()
        return stale

    monkeypatch.setattr(check_schedule, "get_or_create_progress", late)
    assert taken() == set()


@pytest.mark.settings(CHECK_SECONDS=60)
def test_due_are_those_that_a_person_did_not_switch_off(clock, pool):
    off = Provider.objects.create(name="off", kind="echo", enabled=False)
    guest = Provider.objects.create(name="guest", kind="echo", mode="guest")
    wanted = tokens_at(pool, 0.1, 0.2) + tokens_at(pool, 0.3, state="disabled", reason="auth: no")
    tokens_at(pool, 0.4, state="disabled", reason="by authority")
    tokens_at(pool, 0.5, state="disabled", reason="authorities said so")
    tokens_at(off, 0.6)
    tokens_at(guest, 0.7)
    assert taken() == set(wanted)


# --- what -----------------------------------------------------------------------------------------
@pytest.fixture
async def site(upstream, monkeypatch):
    found = Site()
    found.access = {"access-good"}
    upstream.set_default_script(found)
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: Renewing)
    return found


def row_of(provider, access="", refresh="", **fields):
    row = UpstreamToken.from_secret(provider, f"imported-{uuid4()}", **fields)
    row.sealed = vault.encrypt_secret(access, str(row.pk)) if access else ""
    row.sealed_refresh = vault.encrypt_secret(refresh, str(row.pk)) if refresh else ""
    row.save()
    return row


def checked():
    return {
        finding.token.pk: finding.outcome
        for finding in token_check.check_upstream_tokens(UpstreamToken.objects.all())
    }


async def test_a_check_renews_what_has_ended_or_is_rejected_and_asks_again(site, provider):
    never = await run_in_thread(row_of, provider, "", "refresh-0")
    site.refresh.add("refresh-x")
    rejected = await run_in_thread(
        row_of, provider, "access-old", "refresh-x", state="disabled", reason="auth: rejected"
    )
    good = await run_in_thread(row_of, provider, "access-good", "refresh-unused")
    outcomes = await run_in_thread(checked)
    assert outcomes == dict.fromkeys((never.pk, rejected.pk, good.pk), "works")
    assert sorted(site.renewals) == ["refresh-0", "refresh-x"]
    assert {(await rows.reload_row(row)).state for row in (never, rejected, good)} == {"active"}


async def test_a_check_disables_what_is_rejected_and_cannot_be_renewed(site, provider):
    row = await run_in_thread(row_of, provider, "access-old", "refresh-void")
    assert await run_in_thread(checked) == {row.pk: "rejected"}
    found = await rows.reload_row(row)
    assert (found.state, found.strikes) == ("disabled", 0)


@pytest.mark.parametrize("fault", [500, 429, 402])
async def test_nothing_is_disabled_because_its_provider_fails_or_limits(
    site, provider, upstream, fault
):
    made = [
        await run_in_thread(row_of, provider, "access-good", "refresh-0"),
        await run_in_thread(row_of, provider, "", "refresh-1"),
    ]
    upstream.set_default_script(send_refusal(fault))
    for _ in range(3):
        await run_in_thread(checked)
    for row in made:
        found = await rows.reload_row(row)
        state = "exhausted" if fault == 402 else "active"
        assert (found.state, found.strikes, found.renewing_until) == (state, 0, None)


async def test_a_restricted_key_that_may_not_list_models_is_not_struck(site, provider, upstream):
    row = await run_in_thread(row_of, provider, "access-good")
    upstream.set_default_script(send_refusal(403, "Missing scopes: api.model.read"))
    assert await run_in_thread(checked) == {row.pk: "unproven"}
    assert (await rows.reload_row(row)).strikes == 0


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"data": {"label": "sk…", "limit": None, "limit_remaining": None}}, "works"),
        ({"data": {"limit": 5, "limit_remaining": 0.25}}, "works"),
        ({"data": {"limit": 5, "limit_remaining": 0}}, "out of quota"),
        (None, "rejected"),
    ],
)
async def test_an_open_list_of_models_is_not_asked_where_there_is_a_free_call_that_needs_the_key(
    provider, upstream, monkeypatch, body, outcome
):
    monkeypatch.setattr(openai_compatible.Adapter, "KEY_CHECK_PATHS", {"127.0.0.1": "key"})

    async def facts(exchange):
        known = exchange.request.bearer_token == "access-good" and body is not None
        await (send_reply(body) if known else send_refusal(401))(exchange)

    upstream.set_default_script(facts)
    row = await run_in_thread(row_of, provider, "access-good")
    assert await run_in_thread(checked) == {row.pk: outcome}
    assert {request.path for request in upstream.requests} == {"/v1/key"}


async def test_a_check_neither_renews_nor_enables_what_a_person_switched_off(site, provider):
    """The refusal of a renewal does not take the place of the reason that names the person."""
    ended = await run_in_thread(
        row_of, provider, "", "refresh-void", state="disabled", reason="by operator"
    )
    good = await run_in_thread(
        row_of, provider, "access-good", state="disabled", reason="by operator"
    )
    for _ in range(2):
        await run_in_thread(checked)
    for row in (ended, good):
        found = await rows.reload_row(row)
        assert (found.state, found.reason) == ("disabled", "by operator")
    assert not site.renewals


async def test_a_refused_renewal_keeps_the_reason_of_a_person(site, provider):
    row = await run_in_thread(row_of, provider, "access-old", "refresh-void")
    order = RenewalOrder(row.pk, row.sealed, is_rejected=True)
    await run_in_thread(UpstreamToken.objects.filter(pk=row.pk).mark_disabled, "by operator")
    async with Clients() as clients:
        with pytest.raises(UpstreamError):
            await Renewals().renew_and_wait(
                token_check.build_maintenance_adapter(provider, clients), order
            )
    found = await rows.reload_row(row)
    assert (found.state, found.reason) == ("disabled", "by operator")


async def test_a_dry_run_renews_nothing(site, provider):
    row = await run_in_thread(row_of, provider, "", "refresh-0")
    found = await run_in_thread(
        lambda: list(token_check.check_upstream_tokens(UpstreamToken.objects.all(), dry_run=True))
    )
    assert [(one.token.pk, one.outcome) for one in found] == [(row.pk, "unproven")]
    assert not site.renewals


async def test_tokens_of_a_provider_in_guest_mode_are_left_alone(site, provider, upstream):
    await run_in_thread(row_of, provider, "access-good")
    await run_in_thread(Provider.objects.update, mode="guest")
    assert await run_in_thread(checked) == {}
    assert not upstream.requests


@pytest.mark.settings(CHECK_SECONDS=60)
async def test_the_sweep_checks_all_in_its_period_and_a_second_one_nothing(
    site, provider, upstream
):
    await run_in_thread(lambda: [row_of(provider, "access-good") for _ in range(5)])
    assert await run_in_thread(check_due) == 5
    assert await run_in_thread(check_due) == 0


async def test_the_disabled_are_looked_at_more_often(site, provider):
    row = await run_in_thread(
        row_of, provider, "access-good", state="disabled", reason="auth: rejected"
    )
    assert await run_in_thread(check_disabled) == 1
    assert (await rows.reload_row(row)).state == "active"
