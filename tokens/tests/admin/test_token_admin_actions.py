"""Actions change the state of tokens, are noted in the history, and need the permission."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from proxysite.testing.rows import move_providers
from tokens.models import UpstreamToken
from tokens.tests.admin.admin_pages import (
    OTHER,
    SECRET,
    TOKENS,
    make_form,
    make_token_url,
    run_action,
)
from tokens.tests.listing import serving

pytestmark = pytest.mark.django_db


def test_tokens_are_disabled_and_reset_by_actions_that_are_noted(
    admin_client: Client, token: UpstreamToken
) -> None:
    answer = run_action(admin_client, "disable_tokens", token)
    assert "1 upstream token disabled." in answer.content.decode()
    token.refresh_from_db()
    assert (token.state, token.reason) == ("disabled", "by admin")
    assert "by admin" in admin_client.get(TOKENS).content.decode()
    UpstreamToken.objects.update(strikes=2, rests_until=timezone.now() + timedelta(hours=1))
    run_action(admin_client, "reset_tokens", token)
    token.refresh_from_db()
    assert (token.state, token.reason, token.strikes, token.rests_until) == ("active", "", 0, None)
    notes = list(LogEntry.objects.order_by("pk").values_list("object_repr", "change_message"))
    assert notes == [(token.masked, "Disabled."), (token.masked, "Reset.")]


def test_only_disabled_tokens_are_enabled(admin_client: Client, token: UpstreamToken) -> None:
    resting = UpstreamToken.from_secret(
        token.provider, OTHER, rests_until=timezone.now() + timedelta(hours=1)
    )
    resting.save()
    UpstreamToken.objects.filter(pk=token.pk).mark_disabled("by admin")
    html = run_action(admin_client, "enable_tokens", token, resting).content.decode()
    assert "1 upstream token enabled." in html
    assert UpstreamToken.objects.get(pk=token.pk).state == "active"
    assert UpstreamToken.objects.get(pk=resting.pk).has_cooldown
    assert LogEntry.objects.get().change_message == "Enabled."


def test_tokens_are_checked_by_an_action_and_the_answer_says_what_came_of_it(
    admin_client: Client, token: UpstreamToken
) -> None:
    with serving(SECRET) as upstream:
        move_providers(token.provider, base_url=upstream.url, allow_private=True)
        UpstreamToken.objects.all().mark_disabled("auth: no")
        html = run_action(admin_client, "check_tokens", token).content.decode()
    assert "1 checked: 1 works." in html
    assert UpstreamToken.objects.get().state == "active"


# --- many tokens ----------------------------------------------------------------------------------
def test_an_action_reaches_what_the_filter_shows_on_every_page(
    admin_client: Client, token: UpstreamToken
) -> None:
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(token.provider, f"{SECRET}-{n}") for n in range(60)]
    )
    UpstreamToken.objects.filter(pk=token.pk).update(state="disabled", reason="auth: no")
    posted = {
        "action": "disable_tokens",
        "_selected_action": [str(token.pk)],
        "index": 0,
        "select_across": 1,
    }
    admin_client.post(f"{TOKENS}?is=usable", posted)
    assert UpstreamToken.objects.filter(state="disabled", reason="by admin").count() == 60
    assert LogEntry.objects.count() == 60


def test_an_action_on_very_many_is_noted_once(
    admin_client: Client, token: UpstreamToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.admin.big_tables.MOST_AUDITED", 10)
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(token.provider, f"{SECRET}-{n}") for n in range(60)]
    )
    for action in ("disable_tokens", "delete_selected"):
        posted = {"action": action, "_selected_action": [str(token.pk)], "select_across": 1}
        admin_client.post(
            TOKENS, posted | ({"index": 0} if action == "disable_tokens" else {"post": "yes"})
        )
    notes = list(LogEntry.objects.order_by("pk").values_list("object_repr", "action_flag"))
    assert notes == [("more than 10 upstream tokens", flag) for flag in (CHANGE, DELETION)]
    assert not UpstreamToken.objects.exists()


def test_everything_that_matches_is_deleted_although_no_form_could_carry_its_ids(
    admin_client: Client, token: UpstreamToken
) -> None:
    rows = [
        UpstreamToken.from_secret(token.provider, f"{SECRET}-{n}", label="old")
        for n in range(1_200)
    ]
    UpstreamToken.objects.bulk_create(rows)
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(rows[0].pk)],
        "index": 0,
        "select_across": 1,
    }
    asked = admin_client.post(f"{TOKENS}?q=old", posted)
    html = asked.content.decode()
    assert "Upstream tokens: 1200" in html
    assert html.count('name="_selected_action"') == 1
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(rows[0].pk)],
        "select_across": 1,
        "post": "yes",
    }
    assert admin_client.post(f"{TOKENS}?q=old", posted).status_code == 302
    assert list(UpstreamToken.objects.all()) == [token]


# --- permissions ----------------------------------------------------------------------------------
def test_who_may_only_look_can_do_nothing(client: Client, token: UpstreamToken) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    client.force_login(looker)
    assert "_selected_action" not in client.get(TOKENS).content.decode()
    html = client.get(make_token_url(token)).content.decode()
    assert token.masked in html
    assert 'name="secret"' not in html
    for action in ("disable_tokens", "reset_tokens", "delete_selected"):
        run_action(client, action, token, post="yes")
    assert client.post(make_token_url(token), make_form(secret=OTHER)).status_code == 403
    row = UpstreamToken.objects.get()
    assert (row.state, row.sealed) == ("active", token.sealed)


def test_who_may_only_look_checks_and_enables_nothing(client: Client, token: UpstreamToken) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    client.force_login(looker)
    UpstreamToken.objects.all().mark_disabled("auth: no")
    for action in ("check_tokens", "enable_tokens"):
        run_action(client, action, token)
    assert UpstreamToken.objects.get().state == "disabled"


def test_nothing_changes_by_looking(admin_client: Client, token: UpstreamToken) -> None:
    before = UpstreamToken.objects.values().get()
    admin_client.get(f"{TOKENS}?action=disable_tokens&_selected_action={token.pk}&index=0")
    assert UpstreamToken.objects.values().get() == before


def test_actions_without_the_csrf_token_are_refused(token: UpstreamToken, admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert run_action(strict, "disable_tokens", token).status_code == 403
    assert UpstreamToken.objects.get().state == "active"
