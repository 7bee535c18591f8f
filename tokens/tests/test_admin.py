"""The admin of upstream tokens: the secret goes in and never comes out; state changes by actions
only.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from providers import vault
from providers.adapters import openai_compatible
from providers.models import Provider
from proxysite.testing.rows import move_providers
from tokens.admin import describe_state
from tokens.imports import account_import
from tokens.models import Kind, State, UpstreamAccount, UpstreamToken
from tokens.tests.listing import serving

pytestmark = pytest.mark.django_db

SECRET = "sk-a-secret-that-nobody-may-see-again-0123456789"
OTHER = "sk-another-secret-for-the-same-account-9876543210"
MARKUP = "<script>alert(1)</script>"
PASSWORD = "a-password-that-nobody-may-see-again"
LIST, ACCOUNTS = "/admin/tokens/upstreamtoken/", "/admin/tokens/upstreamaccount/"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="moonshot", kind="openai_compatible", base_url="https://api.moonshot.ai/v1"
    )


@pytest.fixture
def token(provider: Provider) -> UpstreamToken:
    row = UpstreamToken.from_secret(provider, SECRET, label="account of June")
    row.save()
    return row


def change(token: UpstreamToken, view: str = "change") -> str:
    return reverse(f"admin:tokens_upstreamtoken_{view}", args=[token.pk])


def form(**values: Any) -> dict[str, Any]:
    return {
        "label": "",
        "expires_at_0": "",
        "expires_at_1": "",
        "priority": 0,
        "weight": 1,
        "secret": "",
    } | values


def webtoken(**claims: Any) -> str:
    """A JSON Web Token with these claims, signed by nobody."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({}, claims)
    )
    return ".".join([*parts, "c2lnbmVk"])


def act(client: Client, action: str, *rows: UpstreamToken, **more: Any) -> Any:
    posted = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": 0}
    return client.post(LIST, posted | more, follow=True)


def everything_kept() -> str:
    """All text that saving in the admin could have left behind."""
    entries = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    return " ".join([*entries, *(str(session.get_decoded()) for session in Session.objects.all())])


# --- secrets --------------------------------------------------------------------------------------
def test_a_pasted_token_is_sealed_and_never_shown_again(
    admin_client: Client, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{LIST}add/", form(provider=provider.pk, secret=f" {SECRET}\n"), follow=True
    )
    assert answer.status_code == 200
    token = UpstreamToken.objects.get()
    assert vault.decrypt_secret(token.sealed, str(token.pk)) == SECRET
    assert token.masked == vault.mask_secret(SECRET)
    pages = [answer, *map(admin_client.get, (LIST, change(token), change(token, "history")))]
    shown = "".join(page.content.decode() for page in pages)
    assert token.masked in shown
    for hidden in (SECRET, token.sealed, token.fingerprint):
        assert hidden not in shown + everything_kept()
    assert not any(SECRET in cookie.value for cookie in admin_client.cookies.values())


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("sk-has a space in it", "has a space inside"),
        ("sk-ünïcode-token-that-no-header-carries", "has characters that no HTTP header can carry"),
        ("abc", "too short"),
        ("x" * 9_000, "at most 8192"),
        ("", "This field is required"),
    ],
)
def test_what_is_no_token_is_refused_and_not_shown_back(
    admin_client: Client, provider: Provider, secret: str, text: str
) -> None:
    answer = admin_client.post(f"{LIST}add/", form(provider=provider.pk, secret=secret))
    assert text in answer.content.decode()
    if secret:
        assert f'value="{secret}"' not in answer.content.decode()
    assert not UpstreamToken.objects.exists()


def test_a_token_is_not_shown_back_when_another_field_is_wrong(
    admin_client: Client, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{LIST}add/", form(provider=provider.pk, secret=SECRET, weight="none")
    )
    assert answer.status_code == 200
    assert SECRET not in answer.content.decode()


def test_a_token_the_provider_has_already_is_refused(
    admin_client: Client, token: UpstreamToken
) -> None:
    answer = admin_client.post(f"{LIST}add/", form(provider=token.provider.pk, secret=SECRET))
    assert f"has this token already: {token.masked}" in answer.content.decode()
    other = Provider.objects.create(
        name="other", kind="openai_compatible", base_url="https://api.example.com/v1"
    )
    assert (
        admin_client.post(f"{LIST}add/", form(provider=other.pk, secret=SECRET)).status_code == 302
    )


def test_a_replaced_token_starts_afresh_and_counters_stay(
    admin_client: Client, token: UpstreamToken
) -> None:
    UpstreamToken.objects.filter(pk=token.pk).update(requests=7, failures=2)
    UpstreamToken.objects.all().add_strike(1, "auth: revoked")
    assert admin_client.post(change(token), form(label="new", secret=OTHER)).status_code == 302
    row = UpstreamToken.objects.get()
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == OTHER
    assert (row.masked, row.fingerprint) == (
        vault.mask_secret(OTHER),
        vault.fingerprint_secret(OTHER),
    )
    assert (row.state, row.strikes, row.reason, row.label) == ("active", 0, "", "new")
    assert (row.requests, row.failures) == (7, 2)
    assert not any(secret in everything_kept() for secret in (SECRET, OTHER))


def test_saving_keeps_the_token_and_writes_nothing_that_the_gateway_writes(
    admin_client: Client, token: UpstreamToken
) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.post(change(token), form(label="renamed", priority=3))
    row = UpstreamToken.objects.get()
    assert (row.label, row.priority, row.sealed) == ("renamed", 3, token.sealed)
    (update,) = [
        query["sql"] for query in queries if 'UPDATE "tokens_upstreamtoken"' in query["sql"]
    ]
    for column in (
        "requests",
        "failures",
        "strikes",
        "rests_until",
        "state",
        "changed",
        "last_used_at",
    ):
        assert f'"{column}"' not in update


def test_a_token_stays_with_its_provider_and_what_machines_write_stays(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = Provider.objects.create(
        name="other", kind="openai_compatible", base_url="https://api.example.com/v1"
    )
    posted = form(
        provider=other.pk,
        sealed="x",
        masked="x",
        fingerprint="x",
        state="disabled",
        strikes=9,
        requests=9,
    )
    assert admin_client.post(change(token), posted).status_code == 302
    row = UpstreamToken.objects.get()
    assert (row.provider_id, row.sealed, row.masked) == (
        token.provider_id,
        token.sealed,
        token.masked,
    )
    assert (row.state, row.strikes, row.requests) == ("active", 0, 0)


# --- state ----------------------------------------------------------------------------------------
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


def test_tokens_are_disabled_and_reset_by_actions_that_are_noted(
    admin_client: Client, token: UpstreamToken
) -> None:
    answer = act(admin_client, "disable_tokens", token)
    assert "1 upstream token disabled." in answer.content.decode()
    token.refresh_from_db()
    assert (token.state, token.reason) == ("disabled", "by admin")
    assert "by admin" in admin_client.get(LIST).content.decode()
    UpstreamToken.objects.update(strikes=2, rests_until=timezone.now() + timedelta(hours=1))
    act(admin_client, "reset_tokens", token)
    token.refresh_from_db()
    assert (token.state, token.reason, token.strikes, token.rests_until) == ("active", "", 0, None)
    notes = list(LogEntry.objects.order_by("pk").values_list("object_repr", "change_message"))
    assert notes == [(token.masked, "Disabled."), (token.masked, "Reset.")]


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
    admin_client.post(f"{LIST}?is=usable", posted)
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
            LIST, posted | ({"index": 0} if action == "disable_tokens" else {"post": "yes"})
        )
    notes = list(LogEntry.objects.order_by("pk").values_list("object_repr", "action_flag"))
    assert notes == [("more than 10 upstream tokens", flag) for flag in (CHANGE, DELETION)]
    assert "more than 10 upstream tokens" in admin_client.get("/admin/").content.decode()
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
    asked = admin_client.post(f"{LIST}?q=old", posted)
    html = asked.content.decode()
    assert "Upstream tokens: 1200" in html
    assert html.count('name="_selected_action"') == 1
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(rows[0].pk)],
        "select_across": 1,
        "post": "yes",
    }
    assert admin_client.post(f"{LIST}?q=old", posted).status_code == 302
    assert list(UpstreamToken.objects.all()) == [token]


def test_who_may_only_look_can_do_nothing(client: Client, token: UpstreamToken) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    client.force_login(looker)
    assert "_selected_action" not in client.get(LIST).content.decode()
    html = client.get(change(token)).content.decode()
    assert token.masked in html
    assert 'name="secret"' not in html
    for action in ("disable_tokens", "reset_tokens", "delete_selected"):
        act(client, action, token, post="yes")
    assert client.post(change(token), form(secret=OTHER)).status_code == 403
    row = UpstreamToken.objects.get()
    assert (row.state, row.sealed) == ("active", token.sealed)


def test_nothing_changes_by_looking(admin_client: Client, token: UpstreamToken) -> None:
    before = UpstreamToken.objects.values().get()
    admin_client.get(f"{LIST}?action=disable_tokens&_selected_action={token.pk}&index=0")
    assert UpstreamToken.objects.values().get() == before


def test_actions_without_the_csrf_token_are_refused(token: UpstreamToken, admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert act(strict, "disable_tokens", token).status_code == 403
    assert UpstreamToken.objects.get().state == "active"


def test_what_an_upstream_says_is_shown_as_text(admin_client: Client, token: UpstreamToken) -> None:
    UpstreamToken.objects.update(label=MARKUP)
    UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}")
    pages = [
        LIST,
        f"{LIST}?q=%3Cscript%3E",
        change(token),
        change(token, "history"),
        change(token, "delete"),
    ]
    for address in pages:
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert MARKUP not in answer.content.decode()
    assert "auth: &lt;script&gt;" in admin_client.get(LIST).content.decode()


# --- finding --------------------------------------------------------------------------------------
def test_tokens_are_found_by_mask_label_and_id_and_never_by_a_pattern(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = UpstreamToken.from_secret(token.provider, "tok-0123456789abcdef", label="100%")
    other.save()

    def found(term: str) -> set[str]:
        listed = admin_client.get(LIST, {"q": term}).context["cl"].result_list
        return {row.masked for row in listed}

    assert (
        found("sk-a-s")
        == found(token.masked)
        == found("account of")
        == found(f" {token.pk} ")
        == {token.masked}
    )
    assert found("100%") == {other.masked}
    assert found("%") == found("_") == found("June") == found("x" * 5_000) == set()


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
        rows = admin_client.get(LIST, {"is": name}).context["cl"].result_list
        assert [row.label for row in rows] == [name]
    assert len(admin_client.get(LIST, {"is": "nonsense"}).context["cl"].result_list) == 5
    assert (
        len(admin_client.get(LIST, {"provider__id__exact": provider.pk}).context["cl"].result_list)
        == 5
    )


def test_a_list_of_many_is_paged_without_counting_them(
    admin_client: Client, provider: Provider
) -> None:
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, f"{SECRET}-{n:03}") for n in range(260)]
    )
    for query in ({}, {"p": 4}, {"is": "usable", "p": 2}, {"q": "sk-a"}, {"o": "5"}, {"all": ""}):
        with CaptureQueriesContext(connection) as queries:
            answer = admin_client.get(LIST, query)
        assert answer.status_code == 200
        assert len(answer.context["cl"].result_list) == 50
        asked = [query["sql"] for query in queries if "tokens_upstreamtoken" in query["sql"]]
        assert not any("COUNT(" in sql for sql in asked)
        assert all("LIMIT" in sql for sql in asked)
        assert len(queries) <= 6
    assert "more than 250 upstream tokens" in admin_client.get(LIST).content.decode()
    last = admin_client.get(LIST, {"p": 6}).content.decode()
    assert "more than" not in last
    assert "260 upstream tokens" in last
    assert admin_client.get(LIST, {"p": 40}).headers["location"].endswith("?e=1")


# --- what a token is ------------------------------------------------------------------------------
def test_a_pasted_token_says_itself_what_it_is_and_when_it_ends(
    admin_client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)
    session = webtoken(id="june", exp=int(ends.timestamp()))
    admin_client.post(f"{LIST}add/", form(provider=provider.pk, secret=session))
    row = UpstreamToken.objects.get()
    assert (row.kind, row.expires_at, row.is_renewable) == (Kind.SESSION, ends, False)
    assert "until 2040-01-02" in admin_client.get(LIST).content.decode()
    monkeypatch.setattr(openai_compatible.Adapter, "can_refresh", True)
    refresh = webtoken(app_id="kimi", typ="refresh", exp=int(ends.timestamp()))
    admin_client.post(change(row), form(secret=refresh))
    row.refresh_from_db()
    assert (row.kind, row.sealed, row.is_renewable) == (Kind.REFRESH, "", True)
    assert vault.decrypt_secret(row.sealed_refresh, str(row.pk)) == refresh
    assert row.expires_at is None


def test_the_end_that_a_person_sets_stays(admin_client: Client, provider: Provider) -> None:
    posted = form(provider=provider.pk, secret=webtoken(id="june", exp=2_000_000_000))
    admin_client.post(
        f"{LIST}add/", posted | {"expires_at_0": "2030-01-01", "expires_at_1": "00:00:00"}
    )
    assert UpstreamToken.objects.get().expires_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_token_shows_the_latest_changes_of_its_state_and_their_causes(
    admin_client: Client, token: UpstreamToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokens.admin.MAX_LISTED_CHANGES", 3)
    assert "active → " not in admin_client.get(change(token)).content.decode()
    for number in range(3):
        UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}", f"req_{number}")
        UpstreamToken.objects.all().reset_state()
    html = admin_client.get(change(token)).content.decode()
    assert html.count("active → disabled") == 1
    assert html.count("disabled → active") == 2
    assert "req_2" in html
    assert MARKUP not in html


def test_only_disabled_tokens_are_enabled(admin_client: Client, token: UpstreamToken) -> None:
    resting = UpstreamToken.from_secret(
        token.provider, OTHER, rests_until=timezone.now() + timedelta(hours=1)
    )
    resting.save()
    UpstreamToken.objects.filter(pk=token.pk).mark_disabled("by admin")
    html = act(admin_client, "enable_tokens", token, resting).content.decode()
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
        html = act(admin_client, "check_tokens", token).content.decode()
    assert "1 checked: 1 works." in html
    assert UpstreamToken.objects.get().state == "active"


def test_who_may_only_look_checks_and_enables_nothing(client: Client, token: UpstreamToken) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    client.force_login(looker)
    UpstreamToken.objects.all().mark_disabled("auth: no")
    for action in ("check_tokens", "enable_tokens"):
        act(client, action, token)
    assert UpstreamToken.objects.get().state == "disabled"


# --- accounts -------------------------------------------------------------------------------------
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


def of_account(row: UpstreamAccount, view: str = "change") -> str:
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
            admin_client.get, (ACCOUNTS, of_account(row), of_account(row, "history"), change(token))
        ),
    ]
    shown = "".join(page.content.decode() for page in pages)
    assert "not signed in yet" in shown
    for hidden in (PASSWORD, row.sealed):
        assert hidden not in shown + everything_kept()
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
        admin_client.post(of_account(account), {"password": "", "enabled": "on"}).status_code == 302
    )
    row = UpstreamAccount.objects.get()
    assert (row.sealed, row.failures) == (account.sealed, 3)
    posted = {"password": "another-password", "enabled": "on", "email": "may@example.org"}
    assert admin_client.post(of_account(account), posted).status_code == 302
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
    for address in (ACCOUNTS, of_account(account)):
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


# --- searching ------------------------------------------------------------------------------------
def search(client: Client, term: str, **filters: Any) -> str:
    """Where the search box leads."""
    answer = client.post(f"{LIST}search/", {"q": term} | filters)
    assert answer.status_code == 302
    return str(answer.headers["location"])


def test_a_token_is_found_by_its_secret_and_the_secret_is_in_no_address(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = UpstreamToken.from_secret(
        token.provider, "sk-another-one-entirely-0001", label="of June"
    )
    other.save()
    assert search(admin_client, SECRET) == change(token)
    for unknown in ("sk-nobody-has-this-secret-0001", SECRET[:-1], SECRET + "x"):
        assert search(admin_client, unknown) == LIST
    assert "Nothing has this secret" in admin_client.get(LIST).content.decode()
    for shown in (token.masked[:8], token.masked, SECRET[-4:], str(token.pk)):
        address = search(admin_client, shown)
        assert SECRET not in address
        assert list(admin_client.get(address).context["cl"].result_list) == [token], shown
    assert list(admin_client.get(search(admin_client, "of Ju")).context["cl"].result_list) == [
        other
    ]


def test_a_secret_of_two_providers_leads_to_the_list_by_its_mask(
    admin_client: Client, token: UpstreamToken
) -> None:
    second = Provider.objects.create(
        name="second", kind="openai_compatible", base_url="https://b.example/v1"
    )
    UpstreamToken.from_secret(second, SECRET).save()
    address = search(admin_client, SECRET, **{"is": "usable"})
    assert SECRET not in address
    assert "is=usable" in address
    assert len(admin_client.get(address).context["cl"].result_list) == 2


def test_the_search_is_for_those_who_may_see_tokens(client: Client, token: UpstreamToken) -> None:
    client.force_login(User.objects.create_user("blind", is_staff=True))
    assert client.post(f"{LIST}search/", {"q": SECRET}).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("strict"))
    assert strict.post(f"{LIST}search/", {"q": SECRET}).status_code == 403
    html = strict.get(LIST).content.decode()
    assert 'role="search" method="post"' in html
    assert "csrfmiddlewaretoken" in html.split('role="search"')[1][:400]
