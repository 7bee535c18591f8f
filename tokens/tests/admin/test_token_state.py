"""The badge, the filter and the latest changes of a token's state."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from providers.models import Provider
from tokens.admin.token_state import describe_state
from tokens.models import State, UpstreamToken
from tokens.tests.admin.admin_pages import MARKUP, SECRET, TOKENS, make_token_url

pytestmark = pytest.mark.django_db


def test_the_badge_says_how_a_token_stands(token: UpstreamToken) -> None:
    now = timezone.now()
    soon, before = now + timedelta(minutes=5), now - timedelta(minutes=5)
    assert describe_state(token, now) == ("good", "active")
    token.rests_until = soon
    assert describe_state(token, now) == ("wait", f"resting until {soon:%H:%M:%S}")
    token.state = State.EXHAUSTED
    assert describe_state(token, now) == ("wait", f"exhausted until {soon:%H:%M:%S}")
    token.rests_until = before
    assert describe_state(token, now) == ("good", "active")
    token.expires_at = before
    assert describe_state(token, now) == ("off", "expired")
    token.sealed_refresh = "sealed"
    assert describe_state(token, now) == ("good", "active"), "it is renewed before its next use"
    token.sealed_refresh = ""
    token.state = State.DISABLED
    assert describe_state(token, now) == ("bad", "disabled")


def test_tokens_are_filtered_by_state(admin_client: Client, provider: Provider) -> None:
    later, before = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)
    wanted: dict[str, dict[str, Any]] = {
        "usable": {},
        "resting": {"rests_until": later},
        "exhausted": {"rests_until": later, "state": "exhausted"},
        "disabled": {"state": "disabled"},
        "expired": {"expires_at": before},
    }
    for name, fields in wanted.items():
        UpstreamToken.from_secret(provider, f"{SECRET}-{name}", label=name, **fields).save()
    for name in wanted:
        rows = admin_client.get(TOKENS, {"is": name}).context["cl"].result_list
        assert [row.label for row in rows] == [name]
    assert len(admin_client.get(TOKENS, {"is": "nonsense"}).context["cl"].result_list) == 5
    assert (
        len(
            admin_client.get(TOKENS, {"provider__id__exact": provider.pk}).context["cl"].result_list
        )
        == 5
    )


def test_a_token_shows_the_latest_changes_of_its_state_and_their_causes(
    admin_client: Client, token: UpstreamToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokens.admin.token_history.MAX_LISTED_CHANGES", 3)
    assert "active → " not in admin_client.get(make_token_url(token)).content.decode()
    for number in range(3):
        UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}", f"req_{number}")
        UpstreamToken.objects.all().reset_state()
    html = admin_client.get(make_token_url(token)).content.decode()
    assert html.count("active → disabled") == 1
    assert html.count("disabled → active") == 2
    assert "req_2" in html
    assert MARKUP not in html


def test_what_an_upstream_says_is_shown_as_text(admin_client: Client, token: UpstreamToken) -> None:
    UpstreamToken.objects.update(label=MARKUP)
    UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}")
    pages = [
        TOKENS,
        f"{TOKENS}?q=%3Cscript%3E",
        make_token_url(token),
        make_token_url(token, "history"),
        make_token_url(token, "delete"),
    ]
    for address in pages:
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert MARKUP not in answer.content.decode()
    assert "auth: &lt;script&gt;" in admin_client.get(TOKENS).content.decode()
