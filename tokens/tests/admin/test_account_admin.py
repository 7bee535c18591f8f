"""Accounts in the admin: a password goes in and never comes out."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from providers import vault
from providers.adapters import openai_compatible
from providers.models import Provider
from tokens.imports import account_import
from tokens.models import UpstreamAccount, UpstreamToken
from tokens.tests.admin.admin_pages import ACCOUNTS, MARKUP, PASSWORD, make_token_url, read_traces

pytestmark = pytest.mark.django_db


@pytest.fixture
def signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_compatible.Adapter, "can_sign_in", True)


@pytest.fixture
def account(provider: Provider, signs_in: None) -> UpstreamAccount:
    row = UpstreamAccount(provider=provider, email="june@example.org")
    row.seal_password(PASSWORD)
    row.save()
    account_import.create_missing_tokens(UpstreamAccount.objects.all())
    return row


def make_account_url(row: UpstreamAccount, view: str = "change") -> str:
    return reverse(f"admin:tokens_upstreamaccount_{view}", args=[row.pk])


def test_an_account_is_added_with_its_token_and_its_password_never_shown(
    admin_client: Client, provider: Provider, signs_in: None
) -> None:
    posted = {
        "provider": provider.pk,
        "email": "June@Example.org",
        "password": PASSWORD,
        "enabled": "on",
    }
    answer = admin_client.post(f"{ACCOUNTS}add/", posted, follow=True)
    row = UpstreamAccount.objects.get()
    assert (row.email, vault.decrypt_secret(row.sealed, str(row.pk))) == (
        "june@example.org",
        PASSWORD,
    )
    token = UpstreamToken.objects.get()
    assert (token.account, token.sealed, token.is_renewable) == (row, "", True)
    pages = [
        answer,
        *map(
            admin_client.get,
            (
                ACCOUNTS,
                make_account_url(row),
                make_account_url(row, "history"),
                make_token_url(token),
            ),
        ),
    ]
    shown = "".join(page.content.decode() for page in pages)
    assert "not signed in yet" in shown
    for hidden in (PASSWORD, row.sealed):
        assert hidden not in shown + read_traces()
    assert 'name="secret"' not in pages[-1].content.decode(), "what the account makes is not pasted"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"email": "june"}, "valid email"),
        ({"password": ""}, "This field is required"),
        ({"email": "JUNE@example.org"}, "already exists"),
    ],
)
def test_an_account_that_cannot_be_is_refused_and_its_password_not_shown_back(
    admin_client: Client, account: UpstreamAccount, wrong: dict[str, str], text: str
) -> None:
    posted = {
        "provider": account.provider.pk,
        "email": "may@example.org",
        "password": PASSWORD,
    } | wrong
    html = admin_client.post(f"{ACCOUNTS}add/", posted).content.decode()
    assert text in html
    assert PASSWORD not in html
    assert UpstreamAccount.objects.count() == 1


def test_there_are_no_accounts_where_nobody_signs_in(
    admin_client: Client, provider: Provider
) -> None:
    posted = {"provider": provider.pk, "email": "june@example.org", "password": PASSWORD}
    assert "Select a valid choice" in admin_client.post(f"{ACCOUNTS}add/", posted).content.decode()
    assert not UpstreamAccount.objects.exists()


def test_a_new_password_begins_anew_and_an_empty_one_keeps_the_old(
    admin_client: Client, account: UpstreamAccount
) -> None:
    UpstreamAccount.objects.update(failures=3, reason="Wrong password.")
    UpstreamToken.objects.all().mark_disabled("auth: Wrong password.")
    assert "Wrong password." in admin_client.get(ACCOUNTS).content.decode()
    assert (
        admin_client.post(make_account_url(account), {"password": "", "enabled": "on"}).status_code
        == 302
    )
    row = UpstreamAccount.objects.get()
    assert (row.sealed, row.failures) == (account.sealed, 3)
    posted = {"password": "another-password", "enabled": "on", "email": "may@example.org"}
    assert admin_client.post(make_account_url(account), posted).status_code == 302
    row = UpstreamAccount.objects.get()
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == "another-password"
    assert (row.failures, row.reason, row.email, row.enabled) == (0, "", "june@example.org", True)
    assert UpstreamToken.objects.get().state == "active"


def test_accounts_are_switched_off_and_on_by_actions(
    admin_client: Client, account: UpstreamAccount
) -> None:
    for action, enabled in (("disable_accounts", False), ("enable_accounts", True)):
        posted = {"action": action, "_selected_action": [str(account.pk)], "index": 0}
        assert (
            "1 upstream account switched"
            in admin_client.post(ACCOUNTS, posted, follow=True).content.decode()
        )
        assert UpstreamAccount.objects.get().enabled == enabled
    assert LogEntry.objects.count() == 2


def test_what_a_sign_in_was_answered_is_shown_as_text(
    admin_client: Client, account: UpstreamAccount
) -> None:
    UpstreamAccount.objects.update(reason=MARKUP)
    for address in (ACCOUNTS, make_account_url(account)):
        html = admin_client.get(address).content.decode()
        assert MARKUP not in html
        assert "&lt;script&gt;" in html


def test_accounts_are_found_by_the_beginning_of_their_address(
    admin_client: Client, account: UpstreamAccount
) -> None:
    found = {
        term: len(admin_client.get(ACCOUNTS, {"q": term}).context["cl"].result_list)
        for term in ("JUN", "%", "x")
    }
    assert found == {"JUN": 1, "%": 0, "x": 0}
