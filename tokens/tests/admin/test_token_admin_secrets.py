"""A secret goes into the admin and never comes out; it says its kind and expiry."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers import vault
from providers.adapters import openai_compatible
from providers.models import Provider
from tokens.models import Kind, UpstreamToken
from tokens.tests.admin.admin_pages import (
    OTHER,
    SECRET,
    TOKENS,
    make_form,
    make_jwt,
    make_token_url,
    read_traces,
)

pytestmark = pytest.mark.django_db


def test_a_pasted_token_is_sealed_and_never_shown_again(
    admin_client: Client, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{TOKENS}add/", make_form(provider=provider.pk, secret=f" {SECRET}\n"), follow=True
    )
    assert answer.status_code == 200
    token = UpstreamToken.objects.get()
    assert vault.decrypt_secret(token.sealed, str(token.pk)) == SECRET
    assert token.masked == vault.mask_secret(SECRET)
    pages = [
        answer,
        *map(admin_client.get, (TOKENS, make_token_url(token), make_token_url(token, "history"))),
    ]
    shown = "".join(page.content.decode() for page in pages)
    assert token.masked in shown
    for hidden in (SECRET, token.sealed, token.fingerprint):
        assert hidden not in shown + read_traces()
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
    answer = admin_client.post(f"{TOKENS}add/", make_form(provider=provider.pk, secret=secret))
    assert text in answer.content.decode()
    if secret:
        assert f'value="{secret}"' not in answer.content.decode()
    assert not UpstreamToken.objects.exists()


def test_a_token_is_not_shown_back_when_another_field_is_wrong(
    admin_client: Client, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{TOKENS}add/", make_form(provider=provider.pk, secret=SECRET, weight="none")
    )
    assert answer.status_code == 200
    assert SECRET not in answer.content.decode()


def test_a_token_the_provider_has_already_is_refused(
    admin_client: Client, token: UpstreamToken
) -> None:
    answer = admin_client.post(
        f"{TOKENS}add/", make_form(provider=token.provider.pk, secret=SECRET)
    )
    assert f"has this token already: {token.masked}" in answer.content.decode()
    other = Provider.objects.create(
        name="other", kind="openai_compatible", base_url="https://api.example.com/v1"
    )
    assert (
        admin_client.post(f"{TOKENS}add/", make_form(provider=other.pk, secret=SECRET)).status_code
        == 302
    )


def test_a_replaced_token_starts_afresh_and_counters_stay(
    admin_client: Client, token: UpstreamToken
) -> None:
    UpstreamToken.objects.filter(pk=token.pk).update(requests=7, failures=2)
    UpstreamToken.objects.all().add_strike(1, "auth: revoked")
    assert (
        admin_client.post(make_token_url(token), make_form(label="new", secret=OTHER)).status_code
        == 302
    )
    row = UpstreamToken.objects.get()
    assert vault.decrypt_secret(row.sealed, str(row.pk)) == OTHER
    assert (row.masked, row.fingerprint) == (
        vault.mask_secret(OTHER),
        vault.fingerprint_secret(OTHER),
    )
    assert (row.state, row.strikes, row.reason, row.label) == ("active", 0, "", "new")
    assert (row.requests, row.failures) == (7, 2)
    assert not any(secret in read_traces() for secret in (SECRET, OTHER))


def test_saving_keeps_the_token_and_writes_nothing_that_the_gateway_writes(
    admin_client: Client, token: UpstreamToken
) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.post(make_token_url(token), make_form(label="renamed", priority=3))
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
    posted = make_form(
        provider=other.pk,
        sealed="x",
        masked="x",
        fingerprint="x",
        state="disabled",
        strikes=9,
        requests=9,
    )
    assert admin_client.post(make_token_url(token), posted).status_code == 302
    row = UpstreamToken.objects.get()
    assert (row.provider_id, row.sealed, row.masked) == (
        token.provider_id,
        token.sealed,
        token.masked,
    )
    assert (row.state, row.strikes, row.requests) == ("active", 0, 0)


# --- kind and expiry ------------------------------------------------------------------------------
def test_a_pasted_token_says_itself_what_it_is_and_when_it_ends(
    admin_client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)
    session = make_jwt(id="june", exp=int(ends.timestamp()))
    admin_client.post(f"{TOKENS}add/", make_form(provider=provider.pk, secret=session))
    row = UpstreamToken.objects.get()
    assert (row.kind, row.expires_at, row.is_renewable) == (Kind.SESSION, ends, False)
    assert "until 2040-01-02" in admin_client.get(TOKENS).content.decode()
    monkeypatch.setattr(openai_compatible.Adapter, "can_refresh", True)
    refresh = make_jwt(app_id="kimi", typ="refresh", exp=int(ends.timestamp()))
    admin_client.post(make_token_url(row), make_form(secret=refresh))
    row.refresh_from_db()
    assert (row.kind, row.sealed, row.is_renewable) == (Kind.REFRESH, "", True)
    assert vault.decrypt_secret(row.sealed_refresh, str(row.pk)) == refresh
    assert row.expires_at is None


def test_the_end_that_a_person_sets_stays(admin_client: Client, provider: Provider) -> None:
    posted = make_form(provider=provider.pk, secret=make_jwt(id="june", exp=2_000_000_000))
    admin_client.post(
        f"{TOKENS}add/", posted | {"expires_at_0": "2030-01-01", "expires_at_1": "00:00:00"}
    )
    assert UpstreamToken.objects.get().expires_at == datetime(2030, 1, 1, tzinfo=UTC)
