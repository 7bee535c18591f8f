"""The overview: what it shows to whom, its switch of modes, and how much it asks the database."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from api.models import Status
from providers.models import Provider
from proxysite.desk.overview import overview_page
from proxysite.testing import rows
from proxysite.tests.desk.pages import MARKUP, SECRET, create_record, read_page, read_text
from tokens.models import Transition, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db
QUERIES = 60  # however many rows there are, sessions and permissions among them


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


def test_an_empty_site_has_a_page_that_says_what_to_do(admin_client):
    shown = read_text(admin_client)
    assert "Set up this gateway" in shown
    assert "There is no provider yet" in shown
    assert "Waiting for the first request with a valid API key." in shown
    assert "Nothing has failed lately." in shown
    assert "No token has changed its state." in shown
    assert "Nothing needs your attention." in shown


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
    html = read_page(admin_client)
    shown = read_text(admin_client).split(" Providers k2 ", 1)[1]
    assert "6 tokens 2 active 1 resting 2 disabled 1 expired" in shown
    for state in ("usable", "resting", "disabled", "expired"):
        assert f"?provider__id__exact={provider.pk}&amp;is={state}" in html
    assert "switched-off off" in shown
    assert re.search(r"echo in use \S+ .*It asks for no token", shown)
    assert "k2think-web guest mode K2-Think" in shown
    assert "no adapter of this kind" in shown


def test_periodic_work_shows_when_it_began_last(admin_client, provider):
    interval = IntervalSchedule.objects.create(every=1, period="minutes")
    last = timezone.now() - timedelta(minutes=5, seconds=1)
    PeriodicTask.objects.create(name="t", task="t", interval=interval, last_run_at=last)
    assert f"Periodic work began last {last:%Y-%m-%d %H:%M:%S}" in read_text(admin_client)


def test_what_upstreams_and_people_wrote_is_shown_as_text(admin_client, token):
    UpstreamToken.objects.update(label=MARKUP)
    UpstreamToken.objects.all().add_strike(1, f"auth: {MARKUP}")
    create_record(token, outcome="ServerFailed", reason=MARKUP, status=Status.ERROR, model=MARKUP)
    html = read_page(admin_client)
    assert MARKUP not in html
    assert html.count("&lt;script&gt;") >= 4


def test_nothing_secret_is_on_the_page(admin_client, provider, token, settings):
    account = UpstreamAccount(provider=provider, email="june@example.org", failures=3, reason="no")
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
        settings.KEY_PEPPER,
        *settings.FIELD_KEYS,
    )
    assert not any(secret in html for secret in hidden)


def test_many_rows_cost_no_more_queries_than_few(admin_client, token):
    def asked():
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            read_page(admin_client)
        return [query["sql"] for query in queries]

    create_record(token, outcome="ServerFailed", status=Status.ERROR)
    UpstreamToken.objects.all().mark_disabled("auth: by the upstream")
    few = asked()
    others = [Provider(name=f"p{number}", kind="openai_compatible") for number in range(40)]
    Provider.objects.bulk_create(others)
    for row in others[:20]:
        UpstreamToken.objects.bulk_create(
            [UpstreamToken.from_secret(row, f"{SECRET}-{n}") for n in range(10)]
        )
    UpstreamToken.objects.all().mark_disabled("auth: by the upstream")
    for number in range(300):
        create_record(
            token, outcome="ServerFailed", status=Status.ERROR if number % 3 else Status.COMPLETE
        )
    many = asked()
    assert len(many) <= len(few) + 1 <= QUERIES, many  # names of those on top are one query more
    assert Transition.objects.count() >= 200
    html = read_page(admin_client)
    assert html.count('<article class="card') == overview_page.MOST_CARDS
    assert "17 more providers" in html
    assert "more like these" in html


def test_strangers_are_sent_to_the_login(client, provider):
    client.force_login(User.objects.create_user("alice"))
    paths = ("mode", "overview/tokens", "overview/alerts")
    answers = [client.post(f"/admin/{path}") for path in paths]
    answers += [client.get("/admin/"), client.get("/admin/overview/first-request")]
    for answer in answers:
        assert answer.status_code == 302
        assert "/admin/login/" in answer.headers["location"]


def test_each_part_is_shown_to_those_who_may_see_its_rows(staff, provider, token):
    create_record(token, outcome="ServerFailed", reason="it broke", status=Status.ERROR)
    parts = (
        "Usage",
        "Providers",
        "Recent failures",
        "Tokens that changed",
        "This gateway",
        "Set up this gateway",
    )

    def list_parts():
        html = read_page(client)
        return [part for part in parts if f">{part}</h2>" in html]

    client = staff()
    assert list_parts() == []
    shown = read_text(client)
    assert "Ask an administrator for a role" in shown
    assert "Needs attention" not in shown
    user = User.objects.get(username="staff")
    user.user_permissions.add(Permission.objects.get(codename="view_provider"))
    assert list_parts() == ["Providers", "This gateway"]
    assert "is=usable" not in read_page(client), "no link to a list that he may not see"
    user.user_permissions.add(Permission.objects.get(codename="view_usagerecord"))
    assert list_parts() == ["Usage", "Providers", "Recent failures", "This gateway"]


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
@pytest.mark.parametrize("path", ["/admin/mode", "/admin/overview/tokens"])
def test_a_provider_that_is_not_there_is_not_found(admin_client, provider, path, named):
    assert admin_client.post(path, {"provider": named, "mode": "guest"}).status_code == 404


def test_who_may_only_look_can_do_nothing(staff, provider, guests):
    client = staff("view_provider", "view_upstreamtoken", "view_alertdelivery")
    rows.create_tokens(provider, "sk-1", state="disabled", reason="auth: no")
    html = read_page(client)
    assert "Switch to" not in html
    assert "Reset them" not in html
    assert "1 token of k2 is disabled." in html
    group = {"provider": provider.pk, "group": "auth", "deed": "reset"}
    assert client.post("/admin/mode", {"provider": provider.pk, "mode": "guest"}).status_code == 403
    assert client.post("/admin/overview/tokens", group).status_code == 403
    assert client.post("/admin/overview/alerts", {"deed": "send_again"}).status_code == 403
    assert client.get("/admin/overview/first-request").status_code == 403
    provider.refresh_from_db()
    assert (provider.mode, provider.tokens.count()) == ("user", 1)
    assert provider.tokens.get().state == "disabled"


def test_nothing_changes_by_an_address_alone_or_without_the_csrf_token(
    admin_user, provider, guests
):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    for path in ("mode", "overview/tokens", "overview/alerts"):
        posted = {"provider": provider.pk, "mode": "guest", "group": "auth"}
        assert strict.post(f"/admin/{path}", posted).status_code == 403
        assert strict.get(f"/admin/{path}", posted).status_code == 405
    provider.refresh_from_db()
    assert (provider.mode, provider.tokens.count()) == ("user", 0)
