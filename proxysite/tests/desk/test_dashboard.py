"""The dashboard: what it shows to whom, its switch of modes, and how much it asks the database."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from api.models import Status
from providers.models import Provider
from proxysite.desk import dashboard, request_statistics
from proxysite.testing import rows
from proxysite.tests.desk.pages import MARKUP, SECRET, create_record, read_page, read_text
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db
QUERIES = 16  # however many rows there are, sessions and permissions among them


def test_an_empty_site_has_a_page_that_says_what_to_do(admin_client):
    shown = read_text(admin_client)
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
    shown = read_text(admin_client)
    assert shown.split("Dashboard Providers ", 1)[1].startswith("k2 OpenAI-compatible")
    assert re.search(r"tokens 6 active 2 inactive 4 1 resting , 2 disabled , 1 expired", shown), (
        shown
    )
    assert "switched-off off" in shown
    assert re.search(r"echo \S+ \S+ asks for no token", shown)
    assert "k2think-web guest mode K2-Think" in shown
    assert "no adapter of this kind" in shown


def test_tokens_that_changed_are_told_with_the_reason(admin_client, token):
    UpstreamToken.objects.all().add_strike(1, "auth: sign in again")
    shown = read_text(admin_client)
    assert re.search(
        rf"disabled {re.escape(token.masked)} of k2 , before: active auth: sign in again", shown
    ), shown


def test_periodic_work_shows_when_it_began_last(admin_client, provider):
    interval = IntervalSchedule.objects.create(every=1, period="minutes")
    last = timezone.now() - timedelta(minutes=5, seconds=1)
    PeriodicTask.objects.create(name="t", task="t", interval=interval, last_run_at=last)
    assert re.search(
        r"Periodic work last begun 5\sminutes ago", read_text(admin_client).replace("&nbsp;", " ")
    )


def test_what_upstreams_and_people_wrote_is_shown_as_text(admin_client, token):
    UpstreamToken.objects.update(label=MARKUP)
    UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}")
    create_record(token, outcome="ServerFailed", reason=MARKUP, status=Status.ERROR, model=MARKUP)
    html = read_page(admin_client)
    assert MARKUP not in html
    assert html.count("&lt;script&gt;") >= 3


def test_nothing_secret_is_on_the_page(admin_client, provider, token, settings):
    account = UpstreamAccount(provider=provider, email="june@example.org")
    account.seal_password("a-password-of-june")
    account.save()
    create_record(token, outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    html = read_page(admin_client)
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
            read_page(admin_client)
        return [query["sql"] for query in queries]

    create_record(token, outcome="ServerFailed", status=Status.ERROR)
    few = asked()
    others = [Provider(name=f"p{number}", kind="openai_compatible") for number in range(40)]
    Provider.objects.bulk_create(others)
    for row in others[:20]:
        UpstreamToken.objects.bulk_create(
            [UpstreamToken.from_secret(row, f"{SECRET}-{n}") for n in range(10)]
        )
    UpstreamToken.objects.all().mark_disabled("by somebody")
    for number in range(300):
        create_record(
            token, outcome="ServerFailed", status=Status.ERROR if number % 3 else Status.COMPLETE
        )
    many = asked()
    assert len(few) == len(many) <= QUERIES, many
    assert Transition.objects.count() >= 200
    usage = [sql for sql in many if 'FROM "api_usagerecord"' in sql]
    assert len(usage) == 6
    assert all("LIMIT" in sql for sql in usage)
    html = read_page(admin_client)
    assert html.count('<article class="card') == dashboard.MOST_CARDS
    assert "17 more" in html
    assert html.count("<li>\n<a") == request_statistics.MOST_LINES


def test_strangers_are_sent_to_the_login(client, provider):
    client.force_login(User.objects.create_user("alice"))
    for answer in (client.get("/admin/"), client.post("/admin/mode"), client.post("/admin/import")):
        assert answer.status_code == 302
        assert "/admin/login/" in answer.headers["location"]


def test_each_part_is_shown_to_those_who_may_see_its_rows(staff, provider, token):
    create_record(token, outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    parts = (
        "Providers",
        "Requests",
        "Recent failures",
        "Tokens that changed",
        "Import tokens",
        "Configuration",
    )
    client = staff()
    assert not any(f">{part}</h2>" in read_page(client) for part in parts)
    user = User.objects.get(username="staff")
    user.user_permissions.add(Permission.objects.get(codename="view_provider"))
    html = read_page(client)
    assert [part for part in parts if f">{part}</h2>" in html] == ["Providers", "Configuration"]
    user.user_permissions.add(Permission.objects.get(codename="view_usagerecord"))
    html = read_page(client)
    assert [part for part in parts if f">{part}</h2>" in html] == [*parts[:3], "Configuration"]


def test_the_mode_is_switched_by_a_button(admin_client, provider, guests):
    html = read_page(admin_client)
    assert "Switch to guest mode" in html
    posted = {"provider": provider.pk, "mode": "guest"}
    html = admin_client.post("/admin/mode", posted, follow=True).content.decode()
    assert "The provider k2 is asked in guest mode within a second." in html
    assert "Switch to user mode" in html
    provider.refresh_from_db()
    assert provider.mode == "guest"
    assert LogEntry.objects.get().change_message == "Mode guest."


def test_where_there_is_no_other_mode_there_is_no_button(admin_client, provider):
    assert "Switch to" not in read_page(admin_client)
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
    html = read_page(client)
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
