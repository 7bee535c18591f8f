"""A check of tokens: nobody's fault but the token's own counts against it."""

from uuid import uuid4

import pytest

from providers import vault
from providers.adapters import openai_compatible
from providers.database.database_threads import run_in_thread
from providers.exceptions import UpstreamError
from providers.models import Provider
from providers.network.clients import Clients
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply
from tokens.maintenance import token_check
from tokens.models import UpstreamToken
from tokens.renewal.renew_token import RenewalOrder, Renewals
from tokens.tasks import check_disabled, check_due
from tokens.tests.site import open_site


@pytest.fixture
async def site(upstream, monkeypatch):
    found = open_site(upstream, monkeypatch)
    found.access = {"access-good"}
    return found


def create_token_row(provider, access="", refresh="", **fields):
    row = UpstreamToken.from_secret(provider, f"imported-{uuid4()}", **fields)
    row.sealed = vault.encrypt_secret(access, str(row.pk)) if access else ""
    row.sealed_refresh = vault.encrypt_secret(refresh, str(row.pk)) if refresh else ""
    row.save()
    return row


def check_all_tokens():
    return {
        finding.token.pk: finding.outcome
        for finding in token_check.check_upstream_tokens(UpstreamToken.objects.all())
    }


async def test_a_check_renews_what_has_ended_or_is_rejected_and_asks_again(site, provider):
    never = await run_in_thread(create_token_row, provider, "", "refresh-0")
    site.refresh.add("refresh-x")
    rejected = await run_in_thread(
        create_token_row,
        provider,
        "access-old",
        "refresh-x",
        state="disabled",
        reason="auth: rejected",
    )
    good = await run_in_thread(create_token_row, provider, "access-good", "refresh-unused")
    outcomes = await run_in_thread(check_all_tokens)
    assert outcomes == dict.fromkeys((never.pk, rejected.pk, good.pk), "works")
    assert sorted(site.renewals) == ["refresh-0", "refresh-x"]
    assert {(await rows.reload_row(row)).state for row in (never, rejected, good)} == {"active"}


async def test_a_check_disables_what_is_rejected_and_cannot_be_renewed(site, provider):
    row = await run_in_thread(create_token_row, provider, "access-old", "refresh-void")
    assert await run_in_thread(check_all_tokens) == {row.pk: "rejected"}
    found = await rows.reload_row(row)
    assert (found.state, found.strikes) == ("disabled", 0)


@pytest.mark.parametrize("fault", [500, 429, 402])
async def test_nothing_is_disabled_because_its_provider_fails_or_limits(
    site, provider, upstream, fault
):
    made = [
        await run_in_thread(create_token_row, provider, "access-good", "refresh-0"),
        await run_in_thread(create_token_row, provider, "", "refresh-1"),
    ]
    upstream.set_default_script(send_refusal(fault))
    for _ in range(3):
        await run_in_thread(check_all_tokens)
    for row in made:
        found = await rows.reload_row(row)
        state = "exhausted" if fault == 402 else "active"
        assert (found.state, found.strikes, found.renewing_until) == (state, 0, None)


async def test_a_restricted_key_that_may_not_list_models_is_not_struck(site, provider, upstream):
    row = await run_in_thread(create_token_row, provider, "access-good")
    upstream.set_default_script(send_refusal(403, "Missing scopes: api.model.read"))
    assert await run_in_thread(check_all_tokens) == {row.pk: "unproven"}
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
    row = await run_in_thread(create_token_row, provider, "access-good")
    assert await run_in_thread(check_all_tokens) == {row.pk: outcome}
    assert {request.path for request in upstream.requests} == {"/v1/key"}


async def test_a_check_neither_renews_nor_enables_what_a_person_switched_off(site, provider):
    """The refusal of a renewal does not take the place of the reason that names the person."""
    ended = await run_in_thread(
        create_token_row, provider, "", "refresh-void", state="disabled", reason="by operator"
    )
    good = await run_in_thread(
        create_token_row, provider, "access-good", state="disabled", reason="by operator"
    )
    for _ in range(2):
        await run_in_thread(check_all_tokens)
    for row in (ended, good):
        found = await rows.reload_row(row)
        assert (found.state, found.reason) == ("disabled", "by operator")
    assert not site.renewals


async def test_a_refused_renewal_keeps_the_reason_of_a_person(site, provider):
    row = await run_in_thread(create_token_row, provider, "access-old", "refresh-void")
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
    row = await run_in_thread(create_token_row, provider, "", "refresh-0")
    found = await run_in_thread(
        lambda: list(token_check.check_upstream_tokens(UpstreamToken.objects.all(), dry_run=True))
    )
    assert [(one.token.pk, one.outcome) for one in found] == [(row.pk, "unproven")]
    assert not site.renewals


async def test_tokens_of_a_provider_in_guest_mode_are_left_alone(site, provider, upstream):
    await run_in_thread(create_token_row, provider, "access-good")
    await run_in_thread(Provider.objects.update, mode="guest")
    assert await run_in_thread(check_all_tokens) == {}
    assert not upstream.requests


@pytest.mark.settings(CHECK_SECONDS=60)
async def test_the_sweep_checks_all_in_its_period_and_a_second_one_nothing(
    site, provider, upstream
):
    await run_in_thread(lambda: [create_token_row(provider, "access-good") for _ in range(5)])
    assert await run_in_thread(check_due) == 5
    assert await run_in_thread(check_due) == 0


async def test_the_disabled_are_looked_at_more_often(site, provider):
    row = await run_in_thread(
        create_token_row, provider, "access-good", state="disabled", reason="auth: rejected"
    )
    assert await run_in_thread(check_disabled) == 1
    assert (await rows.reload_row(row)).state == "active"
