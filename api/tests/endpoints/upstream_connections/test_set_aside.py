"""A provider whose address was changed is asked by nobody until a person confirms it: a canary
stands there.
"""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from providers.database.database_threads import run_in_thread
from providers.exceptions import ProviderDown
from providers.models import Provider
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream_server import Upstream
from tokens.maintenance import model_sync, token_check
from tokens.models import UpstreamToken
from tokens.renewal import renew_pool

PROMISED_SECONDS = 1.0


@pytest.fixture
async def canary():
    """A server of somebody who wants the tokens."""
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


def staff(*codenames, **fields):
    user = User.objects.create_user("ops", is_staff=True, **fields)
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def posted(provider, **values):
    fields = {
        "name": provider.name,
        "kind": provider.kind,
        "base_url": provider.base_url,
        "enabled": "on",
        "needs_token": "on",
        "rotation": "round_robin",
        "mode": "user",
        "headers": "{}",
    }
    inline = {
        f"models-{name}": 0
        for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
    }
    return inline | fields | values


def change(client, provider, **values):
    return client.post(
        f"/admin/providers/provider/{provider.pk}/change/", posted(provider, **values)
    )


async def move(provider, url):
    """The address is another one, as a form or a command writes it."""

    def write():
        row = Provider.objects.get(pk=provider.pk)
        row.base_url = url
        row.save()
        return row

    return await run_in_thread(write)


async def test_a_moved_provider_is_not_asked_within_a_second_and_confirmed_it_is(
    gateway, upstream, alice, operator, provider, canary
):
    assert (await gateway.request_chat(alice.key)).status == 200
    moved = await move(provider, canary.url)
    assert "confirm that its tokens may be sent there" in moved.set_aside_reason

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 503

    await wait_until_true(refused, PROMISED_SECONDS)
    asked = len(upstream.requests)
    answer = await gateway.request_chat(alice.key)
    assert answer.error["code"] == "provider_unavailable"
    assert "set aside until its new address is confirmed" in answer.error["message"]
    assert canary.url not in answer.error["message"], "callers do not learn where it is"
    assert len(upstream.requests) == asked, "nor is the old address asked"
    assert canary.requests == []

    client = Client()
    await sync_to_async(client.force_login)(operator.user)
    page = await run_in_thread(client.get, f"/admin/providers/provider/{provider.pk}/confirm/")
    assert canary.url.removesuffix("/v1") in page.content.decode()
    address = f"/admin/providers/provider/{provider.pk}/confirm/"
    wrong = await run_in_thread(
        client.post, address, {"destination": "https://elsewhere.example:443"}
    )
    assert wrong.status_code == 302
    assert (await gateway.request_chat(alice.key)).status == 503, (
        "what was confirmed is not what is there"
    )
    await run_in_thread(client.post, address, {"destination": moved.destination})

    async def answered():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(answered, PROMISED_SECONDS)
    assert canary.requests
    noted = await run_in_thread(lambda: LogEntry.objects.latest("pk").change_message)
    assert noted == f"Tokens may be sent to {moved.destination}."


async def test_an_address_that_is_changed_back_needs_no_confirmation(
    gateway, upstream, alice, provider, canary
):
    await move(provider, canary.url)
    await move(provider, upstream.url)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert canary.requests == []


async def test_checks_renewals_and_model_lists_send_nothing_to_a_new_address(
    provider, token, canary
):
    moved = await move(provider, canary.url)

    def ask():
        row = UpstreamToken.objects.get(pk=token.pk)
        row.sealed_refresh = row.sealed
        row.save()
        assert list(token_check.check_upstream_tokens(UpstreamToken.objects.all())) == []
        assert renew_pool.renew_provider_pool(provider.pk, force=True).renewed_count == 0
        assert renew_pool.renew_expiring_tokens() == 0
        with pytest.raises(ProviderDown):
            model_sync.create_listed_models(moved)

    await run_in_thread(ask)
    assert canary.requests == []


async def test_other_providers_of_the_model_go_on(gateway, alice, provider, second, canary):
    other, _ = second
    await move(provider, canary.url)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert len(other.requests) == 1
    assert canary.requests == []


# --- who may --------------------------------------------------------------------------------------
@pytest.fixture
def public_provider(db):
    row = rows.create_provider("https://api.example.com/v1", "acme", allow_private=False)
    rows.create_tokens(row, "sk-acme-1")
    return row


def test_who_may_change_providers_alone_cannot_send_their_tokens_elsewhere(public_provider):
    client = staff("view_provider", "change_provider")
    evil = "https://evil.example/v1"
    assert change(client, public_provider, base_url=evil, confirm_tokens="on").status_code == 302
    row = Provider.objects.get()
    assert row.base_url == evil
    assert row.set_aside_reason == (
        "The provider's address changed from api.example.com to evil.example:"
        " confirm that its tokens may be sent there."
    )
    answer = client.post(
        f"/admin/providers/provider/{row.pk}/confirm/", {"destination": row.destination}
    )
    assert answer.status_code == 403
    assert Provider.objects.get().set_aside_reason
    page = client.get(f"/admin/providers/provider/{row.pk}/change/").content.decode()
    assert "Set aside:" in page
    assert "confirm_tokens" not in page


@pytest.mark.parametrize("part", ["http://api.example.com/v1", "https://api.example.com:8443/v1"])
def test_scheme_and_port_decide_too(public_provider, part):
    public_provider.base_url = part
    public_provider.save()
    assert Provider.objects.get().set_aside_reason


def test_another_path_of_the_same_server_needs_no_confirmation(public_provider):
    public_provider.base_url = "https://API.example.com:443/v2"
    public_provider.save()
    assert not Provider.objects.get().set_aside_reason


def test_who_may_change_tokens_confirms_in_the_same_form(public_provider):
    client = staff("view_provider", "change_provider", "change_upstreamtoken")
    assert change(client, public_provider, base_url="https://new.example/v1").status_code == 302
    assert Provider.objects.get().set_aside_reason, "not ticked is not confirmed"
    change(client, public_provider, base_url="https://new.example/v1", confirm_tokens="on")
    assert not Provider.objects.get().set_aside_reason
    assert LogEntry.objects.filter(
        change_message="Tokens may be sent to https://new.example:443."
    ).exists()


def test_private_addresses_are_for_superusers(public_provider):
    client = staff("view_provider", "change_provider", "add_provider", "change_upstreamtoken")
    inside = {"base_url": "http://127.0.0.1:8231/steal", "allow_private": "on"}
    answer = change(client, public_provider, **inside)
    assert answer.status_code == 200, "it is refused"
    assert "This address is private" in answer.content.decode()
    answer = client.post(
        "/admin/providers/provider/add/",
        posted(Provider(name="x", kind="openai_compatible"), **inside),
    )
    assert "This address is private" in answer.content.decode()
    Provider.objects.update(allow_private=True)
    answer = change(client, public_provider, base_url="http://10.0.0.5/v1", confirm_tokens="on")
    assert "only a superuser may change its address" in answer.content.decode()
    assert Provider.objects.get().base_url == "https://api.example.com/v1"
    assert change(client, public_provider, enabled="").status_code == 302, "the rest may be changed"
    assert Provider.objects.get().allow_private, "what one may not set one may not unset by saving"


def test_a_superuser_may_allow_private_addresses(public_provider, admin_client):
    change(
        admin_client,
        public_provider,
        base_url="http://127.0.0.1:8231/v1",
        allow_private="on",
        confirm_tokens="on",
    )
    row = Provider.objects.get()
    assert (row.allow_private, row.set_aside_reason) == (True, "")


@pytest.mark.settings(PASSTHROUGH_PROVIDER="borrowed")
def test_the_provider_of_callers_tokens_is_not_named_by_who_may_not_change_tokens(public_provider):
    client = staff("view_provider", "change_provider", "add_provider")
    assert (
        "callers&#x27; tokens" in change(client, public_provider, name="borrowed").content.decode()
    )
    borrowed = rows.create_provider("https://lent.example/v1", "borrowed", models=())
    borrowed.base_url = "https://evil.example/v1"
    borrowed.save()
    assert Provider.objects.get(name="borrowed").set_aside_reason, "though it has no token of ours"


def test_a_provider_without_credentials_moves_freely(db):
    row = rows.create_provider("http://127.0.0.1:11434/v1", "ollama", needs_token=False)
    row.base_url = "http://127.0.0.1:11435/v1"
    row.save()
    assert not Provider.objects.get().set_aside_reason


def test_the_command_sets_aside_what_it_moves_unless_told_otherwise(public_provider, capsys):
    moved = ["acme", "--kind", "openai_compatible", "--base-url", "https://new.example/v1"]
    call_command("add_provider", *moved)
    assert "run this again with --confirm-tokens" in " ".join(capsys.readouterr().out.split())
    assert Provider.objects.get().set_aside_reason
    call_command("add_provider", *moved, "--confirm-tokens")
    assert not Provider.objects.get().set_aside_reason
