"""The admin's index page: what it shows to whom, what can be done on it, and how much it asks the
database.
"""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from api.models import Status, UsageRecord
from api.relay.lean_request import new_request_id
from providers.adapters import openai_compatible
from providers.models import Provider
from proxysite import dashboard
from proxysite.testing import rows
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db

SECRET = "sk-a-secret-of-the-index-page-0123456789"
MARKUP = "<script>alert(1)</script>"
QUERIES = 16  # however many rows there are, sessions and permissions among them


@pytest.fixture
def provider():
    return rows.create_provider("https://api.example.com/v1", "k2")


@pytest.fixture
def token(provider):
    return rows.create_tokens(provider, SECRET)[0]


@pytest.fixture
def guests(monkeypatch):
    """The adapter has an entrance for guests."""
    monkeypatch.setattr(openai_compatible.Adapter, "modes", ("user", "guest"))


@pytest.fixture
def staff(client):
    """Sign in a member of staff with these permissions and no more."""

    def signed_in(*names):
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.add(*Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return client

    return signed_in


def page(client):
    """The page's HTML; it works under a policy that forbids inline scripts and styles, and loads
    nothing from afar.
    """
    answer = client.get("/admin/")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert not re.search(r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html)
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    return html


def text(client):
    """What a person reads, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", page(client)).split())


def record(token=None, at=None, **fields):
    """A usage row; `fields` may be an outcome and reason of its one attempt."""
    pk = (
        UUID(new_request_id().removeprefix("req_"))
        if at is None
        else UUID(int=dashboard.first_id_at(at).int + 1)
    )
    outcome, reason = fields.pop("outcome", "answered"), fields.pop("reason", "")
    attempt = {
        "provider": "k2",
        "token": str(token.pk) if token else None,
        "outcome": outcome,
        "reason": reason,
    }
    given = {
        "endpoint": "chat/completions",
        "model": "kimi-k2",
        "stream": False,
        "status": Status.COMPLETE,
    }
    attempts = {"attempts": [attempt] if outcome else []}
    return UsageRecord.objects.create(
        id=pk, started_at=at or timezone.now(), **given | attempts | fields
    )


def paste(client, provider, *lines):
    posted = {"provider": provider.pk, "tokens": "\r\n".join(lines)}
    return client.post("/admin/import", posted, follow=True).content.decode()


# --- what it shows --------------------------------------------------------------------------------
def test_an_empty_site_has_a_page_that_says_what_to_do(admin_client):
    shown = text(admin_client)
    assert "There is no provider yet: add one" in shown
    assert "Nothing has failed lately." in shown
    assert "No token has changed its state." in shown
    assert "has not begun yet" in shown
    assert "Upstream tokens" in shown, "Django's own list of models stays"


def test_a_provider_shows_its_mode_and_how_its_tokens_stand(admin_client, provider):
    later, before = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)
    rows.create_tokens(provider, "sk-active-1", "sk-active-2")
    rows.create_tokens(provider, "sk-resting-1", rests_until=later)
    rows.create_tokens(provider, "sk-disabled-1", "sk-disabled-2", state="disabled")
    rows.create_tokens(provider, "sk-expired-1", expires_at=before)
    rows.create_provider("https://api.example.com/v1", "switched-off", models=(), enabled=False)
    Provider.objects.create(name="echo", kind="echo", needs_token=False)
    Provider.objects.create(name="gone", kind="telepathy")
    Provider.objects.create(name="k2think-web", kind="k2think_web", mode="guest")
    shown = text(admin_client)
    assert shown.split("Providers ", 1)[1].startswith("k2 OpenAI-compatible")
    assert re.search(r"tokens 6 active 2 inactive 4 1 resting , 2 disabled , 1 expired", shown), (
        shown
    )
    assert "switched-off off" in shown
    assert re.search(r"echo \S+ \S+ asks for no token", shown)
    assert "k2think-web guest mode K2-Think" in shown
    assert "no adapter of this kind" in shown


def test_recent_failures_come_with_their_reasons_newest_first(admin_client, provider, token):
    times = [timezone.now() - timedelta(seconds=seconds) for seconds in (5, 4, 3, 2)]
    record(token, at=times[0], outcome="RateLimited", reason="too many at once")
    record(token, at=times[1], outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    record(at=times[2], outcome=None, status=Status.ERROR, error_code="no_available_token")
    record(at=times[3], outcome="abandoned", status=Status.ABANDONED)
    record(token)
    shown = text(admin_client)
    places = [shown.index(word) for word in ("no_available_token", "it broke", "too many at once")]
    assert places == sorted(places)
    assert shown.count("kimi-k2") == 3
    assert shown.count("The caller was answered by another attempt.") == 1
    assert f"at k2 with {token.masked}" in shown


def test_a_failure_is_found_behind_many_good_answers(admin_client, token, monkeypatch):
    monkeypatch.setattr(dashboard, "SEARCHED_REQUESTS", 5)
    before = timezone.now() - timedelta(seconds=5)
    record(token, at=before, outcome="RateLimited", reason="answered all the same")
    record(
        token,
        at=before + timedelta(seconds=1),
        outcome="ServerFailed",
        reason="it broke",
        status=Status.ERROR,
    )
    for _ in range(6):
        record(token)
    shown = text(admin_client)
    assert "it broke" in shown
    assert "answered all the same" not in shown


def test_tokens_that_changed_are_told_with_the_reason(admin_client, token):
    UpstreamToken.objects.all().add_strike(1, "auth: sign in again")
    shown = text(admin_client)
    assert re.search(
        rf"disabled {re.escape(token.masked)} of k2 , before: active auth: sign in again", shown
    ), shown


def test_requests_are_counted_by_their_time(admin_client, provider, monkeypatch):
    now = timezone.now()
    for minutes, status in (
        (1, "complete"),
        (2, "error"),
        (3, "abandoned"),
        (90, "truncated"),
        (3_000, "error"),
    ):
        record(at=now - timedelta(minutes=minutes), status=status)
    assert "last hour 3 of them failed 1 last 24 hours 4 of them failed 2" in text(admin_client)
    monkeypatch.setattr(dashboard, "MOST_COUNTED", 2)
    assert "last hour 2+ of them failed 1 last 24 hours 2+ of them failed 2" in text(admin_client)


def test_periodic_work_shows_when_it_began_last(admin_client, provider):
    interval = IntervalSchedule.objects.create(every=1, period="minutes")
    last = timezone.now() - timedelta(minutes=5, seconds=1)
    PeriodicTask.objects.create(name="t", task="t", interval=interval, last_run_at=last)
    assert re.search(
        r"Periodic work last begun 5\sminutes ago", text(admin_client).replace("&nbsp;", " ")
    )


def test_what_upstreams_and_people_wrote_is_shown_as_text(admin_client, token):
    UpstreamToken.objects.update(label=MARKUP)
    UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}")
    record(token, outcome="ServerFailed", reason=MARKUP, status=Status.ERROR, model=MARKUP)
    html = page(admin_client)
    assert MARKUP not in html
    assert html.count("&lt;script&gt;") >= 3


def test_nothing_secret_is_on_the_page(admin_client, provider, token, settings):
    account = UpstreamAccount(provider=provider, email="june@example.org")
    account.seal_password("a-password-of-june")
    account.save()
    record(token, outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    html = page(admin_client)
    hidden = (
        SECRET,
        token.sealed,
        token.fingerprint,
        account.sealed,
        "a-password-of-june",
        settings.SECRET_KEY,
    )
    assert not any(
        secret in html for secret in (*hidden, settings.KEY_PEPPER, *settings.FIELD_KEYS)
    )


def test_many_rows_cost_no_more_queries_than_few(admin_client, token, monkeypatch):
    def asked():
        with CaptureQueriesContext(connection) as queries:
            page(admin_client)
        return [query["sql"] for query in queries]

    record(token, outcome="ServerFailed", status=Status.ERROR)
    few = asked()
    others = [Provider(name=f"p{number}", kind="openai_compatible") for number in range(40)]
    Provider.objects.bulk_create(others)
    for row in others[:20]:
        UpstreamToken.objects.bulk_create(
            [UpstreamToken.from_secret(row, f"{SECRET}-{n}") for n in range(10)]
        )
    UpstreamToken.objects.all().mark_disabled("by somebody")
    for number in range(300):
        record(
            token, outcome="ServerFailed", status=Status.ERROR if number % 3 else Status.COMPLETE
        )
    many = asked()
    assert len(few) == len(many) <= QUERIES, many
    assert Transition.objects.count() >= 200
    usage = [sql for sql in many if 'FROM "api_usagerecord"' in sql]
    assert len(usage) == 6
    assert all("LIMIT" in sql for sql in usage)
    html = page(admin_client)
    assert html.count('<article class="card') == dashboard.MOST_CARDS
    assert "17 more" in html
    assert html.count("<li>\n<a") == dashboard.MOST_LINES


@pytest.mark.parametrize("status", ["complete", "error"])
def test_requests_of_a_span_are_found_by_an_index(status):
    record(status=status)
    records = UsageRecord.objects.filter(
        id__gte=dashboard.first_id_at(timezone.now() - timedelta(hours=1))
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL enable_seqscan = off"
            )  # which suits a table of one row better
    plan = records.order_by("-id").explain()
    assert "index" in plan.lower(), plan


# --- to whom --------------------------------------------------------------------------------------
def test_strangers_are_sent_to_the_login(client, provider):
    client.force_login(User.objects.create_user("alice"))
    for answer in (client.get("/admin/"), client.post("/admin/mode"), client.post("/admin/import")):
        assert answer.status_code == 302
        assert "/admin/login/" in answer.headers["location"]


def test_each_part_is_shown_to_those_who_may_see_its_rows(staff, provider, token):
    record(token, outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    parts = (
        "Providers",
        "Requests",
        "Recent failures",
        "Tokens that changed",
        "Import tokens",
        "Configuration",
    )
    client = staff()
    assert not any(f">{part}</h2>" in page(client) for part in parts)
    user = User.objects.get(username="staff")
    user.user_permissions.add(Permission.objects.get(codename="view_provider"))
    html = page(client)
    assert [part for part in parts if f">{part}</h2>" in html] == ["Providers", "Configuration"]
    user.user_permissions.add(Permission.objects.get(codename="view_usagerecord"))
    html = page(client)
    assert [part for part in parts if f">{part}</h2>" in html] == [*parts[:3], "Configuration"]


# --- the switch -----------------------------------------------------------------------------------
def test_the_mode_is_switched_by_a_button(admin_client, provider, guests):
    html = page(admin_client)
    assert "Switch to guest mode" in html
    posted = {"provider": provider.pk, "mode": "guest"}
    html = admin_client.post("/admin/mode", posted, follow=True).content.decode()
    assert "The provider k2 is asked in guest mode now." in html
    assert "Switch to user mode" in html
    provider.refresh_from_db()
    assert provider.mode == "guest"
    assert LogEntry.objects.get().change_message == "Mode guest."


def test_where_there_is_no_other_mode_there_is_no_button(admin_client, provider):
    assert "Switch to" not in page(admin_client)
    posted = {"provider": provider.pk, "mode": "guest"}
    assert (
        "has no entrance" in admin_client.post("/admin/mode", posted, follow=True).content.decode()
    )
    provider.refresh_from_db()
    assert provider.mode == "user"


@pytest.mark.parametrize("named", ["", "0", "-1", "9" * 30, "k2", "²"])
@pytest.mark.parametrize("path", ["/admin/mode", "/admin/import"])
def test_a_provider_that_is_not_there_is_not_found(admin_client, provider, path, named):
    assert admin_client.post(path, {"provider": named, "mode": "guest"}).status_code == 404


def test_who_may_only_look_can_do_nothing(staff, provider, guests):
    client = staff("view_provider", "view_upstreamtoken")
    html = page(client)
    assert "Switch to" not in html
    assert "<textarea" not in html
    assert client.post("/admin/mode", {"provider": provider.pk, "mode": "guest"}).status_code == 403
    assert (
        client.post("/admin/import", {"provider": provider.pk, "tokens": SECRET}).status_code == 403
    )
    provider.refresh_from_db()
    assert (provider.mode, provider.tokens.count()) == ("user", 0)


def test_nothing_changes_by_an_address_alone_or_without_the_csrf_token(
    admin_user, provider, guests
):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    for path in ("/admin/mode", "/admin/import"):
        posted = {"provider": provider.pk, "mode": "guest", "tokens": SECRET}
        assert strict.post(path, posted).status_code == 403
        assert strict.get(path, posted).status_code == 405
    provider.refresh_from_db()
    assert (provider.mode, provider.tokens.count()) == ("user", 0)


# --- the import -----------------------------------------------------------------------------------
def test_pasted_tokens_are_imported_and_never_shown_again(admin_client, provider, token):
    html = paste(
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
    html = paste(admin_client, provider)
    assert "Tokens for k2: 0 imported" in html
    assert 'class="warning"' in html
    assert not LogEntry.objects.exists()


def test_a_wrong_line_is_never_shown_back(admin_client, provider):
    html = paste(admin_client, provider, MARKUP + " x", "sk-with-ünïcode-inside-it")
    assert "line 1: has a space inside; line 2: has characters" in html
    assert "alert(1)" not in html
    assert "ünïcode" not in html


def test_accounts_are_pasted_where_they_sign_in(admin_client, provider, monkeypatch):
    monkeypatch.setattr(openai_compatible.Adapter, "can_sign_in", True)
    html = paste(
        admin_client, provider, "june@example.org:her-password", "may@example.org----other:password"
    )
    assert "Tokens for k2: 2 imported" in html
    assert not any(secret in html for secret in ("her-password", "other:password"))
    html = paste(admin_client, provider, "june@example.org:her-new-password")
    assert "1 with a new password" in html
    assert [token.is_renewable for token in provider.tokens.all()] == [True, True]


def test_only_the_first_wrong_lines_are_named(admin_client, provider):
    html = paste(admin_client, provider, *("x x" for _ in range(13)))
    assert "line 10: has a space inside and 3 more)." in html


def test_a_provider_that_asks_for_no_token_is_not_chosen_and_takes_none_by_mistake(admin_client):
    echo = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    assert re.search(r'<option value="" selected>', page(admin_client))
    provider = rows.create_provider("https://api.example.com/v1", "k2")
    html = page(admin_client)
    assert re.search(rf'<option value="{provider.pk}" selected>k2</option>', html)
    assert re.search(rf'<optgroup label="ask for no token">\s*<option value="{echo.pk}">echo', html)
    said = paste(admin_client, echo, SECRET)
    assert "echo asks for no token: nothing was imported." in said, re.findall(
        r"messagelist.*", said, re.DOTALL
    )[:1]
    assert not UpstreamToken.objects.exists()
    posted = {"provider": echo.pk, "tokens": SECRET, "anyway": "on"}
    assert "1 imported" in admin_client.post("/admin/import", posted, follow=True).content.decode()
    rows.create_provider("https://api.example.com/v1", "third")
    assert re.search(r'<option value="" selected>', page(admin_client)), "of several none is chosen"
