"""Tokens are found in the admin, and no secret stands in an address."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers.models import Provider
from tokens.models import UpstreamToken
from tokens.tests.admin.admin_pages import SECRET, TOKENS, make_token_url

pytestmark = pytest.mark.django_db


def test_tokens_are_found_by_mask_label_and_id_and_never_by_a_pattern(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = UpstreamToken.from_secret(token.provider, "tok-0123456789abcdef", label="100%")
    other.save()

    def found(term: str) -> set[str]:
        listed = admin_client.get(TOKENS, {"q": term}).context["cl"].result_list
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


def test_a_list_of_many_is_paged_without_counting_them(
    admin_client: Client, provider: Provider
) -> None:
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, f"{SECRET}-{n:03}") for n in range(260)]
    )
    for query in ({}, {"p": 4}, {"is": "usable", "p": 2}, {"q": "sk-a"}, {"o": "5"}, {"all": ""}):
        with CaptureQueriesContext(connection) as queries:
            answer = admin_client.get(TOKENS, query)
        assert answer.status_code == 200
        assert len(answer.context["cl"].result_list) == 50
        asked = [query["sql"] for query in queries if "tokens_upstreamtoken" in query["sql"]]
        assert not any("COUNT(" in sql for sql in asked)
        assert all("LIMIT" in sql for sql in asked)
        assert len(queries) <= 6
    assert "more than 250 upstream tokens" in admin_client.get(TOKENS).content.decode()
    last = admin_client.get(TOKENS, {"p": 6}).content.decode()
    assert "more than" not in last
    assert "260 upstream tokens" in last
    assert admin_client.get(TOKENS, {"p": 40}).headers["location"].endswith("?e=1")


# --- the search box -------------------------------------------------------------------------------
def search(client: Client, term: str, **filters: Any) -> str:
    """Where the search box leads."""
    answer = client.post(f"{TOKENS}search/", {"q": term} | filters)
    assert answer.status_code == 302
    return str(answer.headers["location"])


def test_a_token_is_found_by_its_secret_and_the_secret_is_in_no_address(
    admin_client: Client, token: UpstreamToken
) -> None:
    other = UpstreamToken.from_secret(
        token.provider, "sk-another-one-entirely-0001", label="of June"
    )
    other.save()
    assert search(admin_client, SECRET) == make_token_url(token)
    for unknown in ("sk-nobody-has-this-secret-0001", SECRET[:-1], SECRET + "x"):
        assert search(admin_client, unknown) == TOKENS
    assert "No row has this secret" in admin_client.get(TOKENS).content.decode()
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
    assert client.post(f"{TOKENS}search/", {"q": SECRET}).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("strict"))
    assert strict.post(f"{TOKENS}search/", {"q": SECRET}).status_code == 403
    html = strict.get(TOKENS).content.decode()
    assert 'role="search" method="post"' in html
    assert "csrfmiddlewaretoken" in html.split('role="search"')[1][:400]
