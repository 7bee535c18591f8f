"""Every token is checked once per period, a slice each minute; nobody's fault but the token's own counts against it."""

from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from providers import registry, vault
from providers.models import Provider, Revision
from providers.offloop import off_loop
from proxysite.testing import rows
from proxysite.testing.upstream import refuse
from tokens import checkup, sweeping
from tokens.models import UpstreamToken
from tokens.tasks import check_disabled, check_due
from tokens.tests.site import Renewing, Site

NOON = 1_800_000_000


@pytest.fixture
def revision(db):
    Revision.objects.filter(topic=sweeping.TOPIC).delete()


def taken(now):
    return list(sweeping.slots(now))


# --- when -------------------------------------------------------------------------------------------------------------
@pytest.mark.settings(CHECK_SECONDS=600)
def test_a_period_goes_through_all_ids_once(revision):
    ranges = [one for minute in range(10) for one in taken(NOON + 60 * minute)]
    assert len(ranges) == 10
    ranges.sort()
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**128 - 1
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ranges))


def test_a_slot_is_taken_once(revision):
    assert len(taken(NOON)) == 1
    assert taken(NOON + 1) == []
    assert len(taken(NOON + 60)) == 1


@pytest.mark.settings(CHECK_SECONDS=600)
def test_slots_that_were_missed_are_made_up_for_within_a_period(revision):
    taken(NOON)
    assert len(taken(NOON + 180)) == 3
    assert len(taken(NOON + 86_400)) == 10


@pytest.mark.settings(CHECK_SECONDS=600)
def test_a_clock_that_was_ahead_does_not_end_the_checks(revision):
    taken(NOON + 86_400 * 365)
    assert len(taken(NOON)) == 1


def test_due_are_those_of_the_slot_that_a_person_did_not_switch_off(revision, settings, monkeypatch):
    monkeypatch.setattr(sweeping.time, "time", lambda: NOON)
    provider = Provider.objects.create(name="p", kind="echo", needs_token=False)
    off = Provider.objects.create(name="off", kind="echo", enabled=False)
    guest = Provider.objects.create(name="guest", kind="echo", mode="guest")
    ((first, last),) = taken(NOON)
    Revision.objects.filter(topic=sweeping.TOPIC).delete()

    def token(number, owner=provider, **fields):
        UpstreamToken.of(owner, f"sk-{number}-{owner}", id=UUID(int=number), **fields).save()
        return UUID(int=number)

    wanted = {token(first), token(last), token(first + 5, state="disabled", reason="auth: no")}
    token(last + 1)
    token(first - 1 if first else last + 2)
    token(first + 6, state="disabled", reason="by operator")
    token(first + 7, off)
    token(first + 8, guest)
    assert {row.pk for row in sweeping.due()} == wanted
    assert not sweeping.due().exists()


# --- what -------------------------------------------------------------------------------------------------------------
@pytest.fixture
async def site(upstream, monkeypatch):
    found = Site()
    found.access = {"access-good"}
    upstream.always(found)
    monkeypatch.setattr(registry, "adapter_class", lambda kind: Renewing)
    return found


def row_of(provider, access="", refresh="", **fields):
    row = UpstreamToken.of(provider, f"imported-{uuid4()}", **fields)
    row.sealed = vault.seal(access, str(row.pk)) if access else ""
    row.sealed_refresh = vault.seal(refresh, str(row.pk)) if refresh else ""
    row.save()
    return row


def checked():
    return {finding.token.pk: finding.outcome for finding in checkup.check(UpstreamToken.objects.all())}


async def test_a_check_renews_what_has_ended_or_is_rejected_and_asks_again(site, provider):
    never = await off_loop(row_of, provider, "", "refresh-0")
    site.refresh.add("refresh-x")
    rejected = await off_loop(row_of, provider, "access-old", "refresh-x", state="disabled", reason="auth: rejected")
    good = await off_loop(row_of, provider, "access-good", "refresh-unused")
    outcomes = await off_loop(checked)
    assert outcomes == dict.fromkeys((never.pk, rejected.pk, good.pk), "works")
    assert sorted(site.renewals) == ["refresh-0", "refresh-x"]
    assert {(await rows.fresh(row)).state for row in (never, rejected, good)} == {"active"}


async def test_a_check_disables_what_is_rejected_and_cannot_be_renewed(site, provider):
    row = await off_loop(row_of, provider, "access-old", "refresh-void")
    assert await off_loop(checked) == {row.pk: "rejected"}
    found = await rows.fresh(row)
    assert (found.state, found.strikes) == ("disabled", 0)


@pytest.mark.parametrize("fault", [500, 429, 402])
async def test_nothing_is_disabled_because_its_provider_fails_or_limits(site, provider, upstream, fault):
    made = [
        await off_loop(row_of, provider, "access-good", "refresh-0"),
        await off_loop(row_of, provider, "", "refresh-1"),
    ]
    upstream.always(refuse(fault))
    for _ in range(3):
        await off_loop(checked)
    for row in made:
        found = await rows.fresh(row)
        assert (found.state, found.strikes, found.renewing_until) == ("active", 0, None)


async def test_a_restricted_key_that_may_not_list_models_is_not_struck(site, provider, upstream):
    row = await off_loop(row_of, provider, "access-good")
    upstream.always(refuse(403, "Missing scopes: api.model.read"))
    assert await off_loop(checked) == {row.pk: "unproven"}
    assert (await rows.fresh(row)).strikes == 0


async def test_a_dry_run_renews_nothing(site, provider):
    row = await off_loop(row_of, provider, "", "refresh-0")
    found = await off_loop(lambda: list(checkup.check(UpstreamToken.objects.all(), dry_run=True)))
    assert [(one.token.pk, one.outcome) for one in found] == [(row.pk, "unproven")]
    assert not site.renewals


async def test_tokens_of_a_provider_in_guest_mode_are_left_alone(site, provider, upstream):
    await off_loop(row_of, provider, "access-good")
    await off_loop(Provider.objects.update, mode="guest")
    assert await off_loop(checked) == {}
    assert not upstream.requests


@pytest.mark.settings(CHECK_SECONDS=60)
async def test_the_sweep_checks_all_in_its_period_and_a_second_one_nothing(site, provider, upstream):
    await off_loop(Revision.objects.filter(topic=sweeping.TOPIC).delete)
    await off_loop(lambda: [row_of(provider, "access-good") for _ in range(5)])
    assert await off_loop(check_due) == 5
    assert await off_loop(check_due) == 0


async def test_the_disabled_are_looked_at_more_often(site, provider):
    row = await off_loop(row_of, provider, "access-good", state="disabled", reason="auth: rejected")
    assert await off_loop(check_disabled) == 1
    assert (await rows.fresh(row)).state == "active"
