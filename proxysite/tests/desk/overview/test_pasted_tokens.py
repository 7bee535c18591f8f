"""Tokens and accounts that are pasted into the dashboard."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session

from providers.adapters import openai_compatible
from providers.models import Provider
from proxysite.testing import rows
from proxysite.tests.desk.pages import MARKUP, SECRET, paste_tokens, read_page
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db


def test_pasted_tokens_are_imported_and_never_shown_again(admin_client, provider, token):
    html = paste_tokens(
        admin_client,
        provider,
        "# mine",
        f"{SECRET}-new",
        "",
        SECRET,
        "not a token",
        f"{SECRET}-new",
    )
    assert (
        "Tokens for k2: 1 imported, 1 known already, 1 twice in the file, 1 malformed (line 5: "
        "has a space inside)."
    ) in html
    assert provider.tokens.count() == 2
    kept = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    kept += [str(session.get_decoded()) for session in Session.objects.all()]
    kept += [cookie.value for cookie in admin_client.cookies.values()]
    for hidden in (SECRET, "not a token"):
        assert hidden not in html + " ".join(kept)
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Tokens imported: 1."]


def test_an_import_of_nothing_says_so(admin_client, provider):
    html = paste_tokens(admin_client, provider)
    assert "Tokens for k2: 0 imported" in html
    assert 'class="warning"' in html
    assert not LogEntry.objects.exists()


def test_a_wrong_line_is_never_shown_back(admin_client, provider):
    html = paste_tokens(admin_client, provider, MARKUP + " x", "sk-with-ünïcode-inside-it")
    assert "line 1: has a space inside; line 2: has characters" in html
    assert "alert(1)" not in html
    assert "ünïcode" not in html


def test_accounts_are_pasted_where_they_sign_in(admin_client, provider, monkeypatch):
    monkeypatch.setattr(openai_compatible.Adapter, "can_sign_in", True)
    html = paste_tokens(
        admin_client, provider, "june@example.org:her-password", "may@example.org----other:password"
    )
    assert "Tokens for k2: 2 imported" in html
    assert not any(secret in html for secret in ("her-password", "other:password"))
    html = paste_tokens(admin_client, provider, "june@example.org:her-new-password")
    assert "1 with a new password" in html
    assert [token.is_renewable for token in provider.tokens.all()] == [True, True]


def test_only_the_first_wrong_lines_are_named(admin_client, provider):
    html = paste_tokens(admin_client, provider, *("x x" for _ in range(13)))
    assert "line 10: has a space inside and 3 more)." in html


def test_a_provider_that_asks_for_no_token_is_not_chosen_and_takes_none_by_mistake(admin_client):
    echo = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    assert re.search(r'<option value="" selected>', read_page(admin_client))
    provider = rows.create_provider("https://api.example.com/v1", "k2")
    html = read_page(admin_client)
    assert re.search(rf'<option value="{provider.pk}" selected>k2</option>', html)
    assert re.search(rf'<optgroup label="ask for no token">\s*<option value="{echo.pk}">echo', html)
    said = paste_tokens(admin_client, echo, SECRET)
    assert "echo asks for no token: nothing was imported." in said, re.findall(
        r"messagelist.*", said, re.DOTALL
    )[:1]
    assert not UpstreamToken.objects.exists()
    posted = {"provider": echo.pk, "tokens": SECRET, "anyway": "on"}
    assert "1 imported" in admin_client.post("/admin/import", posted, follow=True).content.decode()
    rows.create_provider("https://api.example.com/v1", "third")
    assert re.search(r'<option value="" selected>', read_page(admin_client)), (
        "of several none is chosen"
    )
