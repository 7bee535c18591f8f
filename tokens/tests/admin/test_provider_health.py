"""A provider's page shows its health and its tokens, and has buttons that act on them."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from providers.models import Provider
from tokens.models import BreakerState, UpstreamToken
from tokens.tests.admin.admin_pages import OTHER, TOKENS

pytestmark = pytest.mark.django_db


def open_breaker(provider: Provider, **fields: object) -> BreakerState:
    now = timezone.now()
    values = {
        "open_until": now + timedelta(minutes=1),
        "opened_at": now,
        "changed_at": now,
        "cause": "failed",
        "reason": "The engine <is> overloaded.",
        "process": "another",
    }
    return BreakerState.objects.create(provider=provider, **values | fields)


def read_provider_page(client: Client, provider: Provider) -> str:
    answer = client.get(reverse("admin:providers_provider_change", args=[provider.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def post_to(client: Client, page: str, provider: Provider, **values: object) -> str:
    address = reverse(f"admin:providers_provider_{page}", args=[provider.pk])
    return client.post(address, values, follow=True).content.decode()


def test_an_open_breaker_is_shown_with_its_reason_and_the_button_closes_it(
    admin_client: Client, provider: Provider
) -> None:
    open_breaker(provider)
    html = read_provider_page(admin_client, provider)
    assert "not asked now" in html
    assert "The engine &lt;is&gt; overloaded." in html
    assert "Ask again now" in html
    listed = admin_client.get(reverse("admin:providers_provider_changelist")).content.decode()
    assert "not asked now" in listed
    html = post_to(admin_client, "ask_again", provider)
    assert "is asked again" in html
    assert "Ask again now" not in html
    assert BreakerState.objects.get().open_until is None
    assert "asked again" in LogEntry.objects.get().change_message


def test_asking_again_twice_changes_and_notes_nothing_more(
    admin_client: Client, provider: Provider
) -> None:
    assert "is asked as usual" in post_to(admin_client, "ask_again", provider)
    assert not LogEntry.objects.exists()


def test_the_button_returns_to_a_page_of_this_site_only(
    admin_client: Client, provider: Provider
) -> None:
    address = reverse("admin:providers_provider_ask_again", args=[provider.pk])
    own = reverse("admin:providers_provider_change", args=[provider.pk])
    for wanted, expected in (("/admin/", "/admin/"), ("https://evil.example/", own), ("", own)):
        answer = admin_client.post(address, {"next": wanted})
        assert answer.headers["location"] == expected


def test_tokens_are_counted_by_state_with_links_to_the_list(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = UpstreamToken.from_secret(token.provider, OTHER, state="disabled", reason="auth: no")
    other.save()
    html = read_provider_page(admin_client, token.provider)
    assert "1 active" in html
    link = f"{TOKENS}?provider__id__exact={token.provider_id}&amp;is=disabled"
    assert link in html
    shown = admin_client.get(link.replace("&amp;", "&")).content.decode()
    assert str(other) in shown
    assert f"/{token.pk}/change/" not in shown


def test_a_provider_without_tokens_says_so(admin_client: Client, provider: Provider) -> None:
    assert "It has no tokens" in read_provider_page(admin_client, provider)


def test_a_provider_is_paused_and_enabled_by_a_button(
    admin_client: Client, provider: Provider
) -> None:
    assert "is paused" in post_to(admin_client, "switch", provider, enabled=0)
    assert not Provider.objects.get().enabled
    post_to(admin_client, "switch", provider, enabled=0)
    assert LogEntry.objects.count() == 1
    assert "is enabled" in post_to(admin_client, "switch", provider, enabled=1)
    assert Provider.objects.get().enabled


def test_who_may_only_look_sees_the_health_and_can_press_nothing(
    client: Client, provider: Provider
) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_provider"))
    client.force_login(looker)
    open_breaker(provider)
    html = read_provider_page(client, provider)
    assert "not asked now" in html
    assert "Ask again now" not in html
    for page in ("ask_again", "switch"):
        address = reverse(f"admin:providers_provider_{page}", args=[provider.pk])
        assert client.post(address).status_code == 403
        assert client.get(address).status_code == 405
    assert BreakerState.objects.get().open_until is not None
