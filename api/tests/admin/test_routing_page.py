"""The page “Try a route” says which tokens a request would try, and which not and why."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from providers.models import ChatModel, ModelAlias, Provider
from proxysite.testing.rows import create_model, create_person, create_provider
from tokens.failover.routing_preview import PreviewRequest, RoutingPreview, preview_routing
from tokens.models import BreakerState, UpstreamToken

pytestmark = pytest.mark.django_db
PAGE = "/admin/routing/"


def add_token(provider: Provider, name: str, **fields: object) -> UpstreamToken:
    token = UpstreamToken.from_secret(provider, f"sk-{name}-0123456789abcdef", **fields)
    token.save()
    return token


def open_breaker(provider: Provider, **fields: object) -> None:
    now = timezone.now()
    values = {"open_until": now + timedelta(minutes=1), "opened_at": now, "changed_at": now}
    BreakerState.objects.create(
        provider=provider, reason="overloaded", cause="failed", process="x", **values | fields
    )


def list_tokens(preview: RoutingPreview) -> list[object]:
    return [call.token_id for call in preview.calls]


@pytest.fixture
def first() -> Provider:
    return create_provider("http://127.0.0.1:9/v1", "first")


@pytest.fixture
def second() -> Provider:
    provider = create_provider("http://127.0.0.1:9/v1", "second")
    ChatModel.objects.filter(provider=provider).update(priority=1)
    return provider


def test_ready_tokens_come_in_the_order_of_priorities_and_turns(
    first: Provider, second: Provider
) -> None:
    one = add_token(first, "one")
    two = add_token(first, "two")
    other = add_token(second, "other")
    assert list_tokens(preview_routing(PreviewRequest("m"))) == [one.pk, two.pk, other.pk]
    UpstreamToken.objects.filter(pk=one.pk).update(last_used_at=timezone.now())
    assert list_tokens(preview_routing(PreviewRequest("m"))) == [two.pk, one.pk, other.pk]


def test_the_preview_writes_and_calls_nothing(first: Provider) -> None:
    add_token(first, "one")
    before = list(UpstreamToken.objects.values())
    preview_routing(PreviewRequest("m"))
    assert list(UpstreamToken.objects.values()) == before


def test_tokens_that_rest_or_are_expired_or_disabled_are_left_out_with_their_reason(
    admin_client: Client, first: Provider
) -> None:
    later = timezone.now() + timedelta(hours=1)
    good = add_token(first, "good")
    bad = [
        add_token(first, "resting", rests_until=later, reason="rate limit: slow down"),
        add_token(first, "disabled", state="disabled", reason="auth: void"),
        add_token(first, "expired", expires_at=timezone.now() - timedelta(hours=1)),
        add_token(first, "empty", state="exhausted", rests_until=later, reason="quota: none left"),
    ]
    failing = add_token(first, "failing", state="failing", rests_until=later)
    preview = preview_routing(PreviewRequest("m"))
    assert list_tokens(preview) == [good.pk, failing.pk]
    assert preview.calls[1].note == "failing"
    html = admin_client.get(PAGE, {"model": "m"}).content.decode()
    tail = html[html.index("Left out: tokens") :]
    for token in bad:
        assert token.masked in tail
        assert token.reason in tail
    assert good.masked not in tail


def test_a_breaker_keeps_away_those_for_whom_it_is_open(first: Provider, second: Provider) -> None:
    add_token(first, "one")
    other = add_token(second, "other")
    june = create_person("june").user
    may = create_person("may").user
    open_breaker(first, callers=[june.pk])
    assert list_tokens(preview_routing(PreviewRequest("m", june.pk))) == [other.pk]
    assert len(list_tokens(preview_routing(PreviewRequest("m", may.pk)))) == 2
    left_out = preview_routing(PreviewRequest("m", june.pk)).left_out
    assert [(one.provider, one.reason) for one in left_out] == [("first", "breaker: overloaded")]


def test_paused_and_unconfirmed_providers_and_guests_are_told_apart(
    first: Provider, second: Provider
) -> None:
    add_token(first, "one")
    add_token(second, "other")
    Provider.objects.filter(pk=first.pk).update(enabled=False)
    Provider.objects.filter(pk=second.pk).update(base_url="https://evil.example/v1")
    preview = preview_routing(PreviewRequest("m"))
    assert preview.calls == []
    assert "set aside" in preview.problem
    reasons = {one.provider: one.reason for one in preview.left_out}
    assert reasons == {"first": "provider paused", "second": "set aside"}


def test_a_request_that_a_model_cannot_take_says_what_the_caller_would_get(first: Provider) -> None:
    add_token(first, "one")
    ChatModel.objects.update(capabilities=["chat"])
    preview = preview_routing(PreviewRequest("m", has_image=True))
    assert "takes no images" in preview.problem
    assert "does not exist" in preview_routing(PreviewRequest("unknown")).problem


def test_a_key_that_may_not_use_the_model_is_told(admin_client: Client, first: Provider) -> None:
    add_token(first, "one")
    ModelAlias.objects.create(alias="gpt-4o", public_id="m")
    person = create_person("june", models=["other"])
    query = {"model": "gpt-4o", "caller": person.row.prefix}
    assert "may not use this model" in admin_client.get(PAGE, query).content.decode()
    person.row.allowed_models = ["m"]
    person.row.save()
    assert "may not use" not in admin_client.get(PAGE, query).content.decode()
    query["caller"] = "nobody"
    assert "no such user or key" in admin_client.get(PAGE, query).content.decode()


def test_the_page_of_a_model_leads_to_its_route(admin_client: Client, first: Provider) -> None:
    model = create_model(first, "a/b c&d".replace(" ", "-"))
    answer = admin_client.get(f"/admin/providers/chatmodel/{model.pk}/route/", follow=True)
    assert answer.context["form"]["model"].value() == model.public_id


def test_tokens_and_callers_are_shown_only_to_who_may_see_them(
    client: Client, first: Provider
) -> None:
    token = add_token(first, "one")
    add_token(first, "two", state="disabled")
    looker = User.objects.create_user("looker", is_staff=True)
    client.force_login(looker)
    assert client.get(PAGE, {"model": "m"}).status_code == 403
    looker.user_permissions.add(Permission.objects.get(codename="view_chatmodel"))
    html = client.get(PAGE, {"model": "m", "caller": "nobody"}).content.decode()
    assert "first" in html
    assert token.masked not in html
    assert "Left out: tokens" not in html
    assert "no such user" not in html
