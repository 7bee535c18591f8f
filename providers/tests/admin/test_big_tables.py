"""Lists and deletions of large tables: little is counted, and little is named."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from providers.admin.big_tables import AheadPaginator
from providers.models import ChatModel, Provider
from providers.tests.admin.provider_pages import PROVIDERS, read_page

pytestmark = pytest.mark.django_db


def test_a_deletion_counts_what_goes_along_instead_of_naming_it(
    admin_client: Client, model: ChatModel
) -> None:
    many = [
        ChatModel(provider=model.provider, public_id=f"m{n}", upstream_name="m") for n in range(200)
    ]
    ChatModel.objects.bulk_create(many)
    html = read_page(admin_client, f"{PROVIDERS}_delete", model.provider.pk)
    assert "201 chat models" in html
    assert "m150" not in html
    admin_client.post(
        reverse(f"admin:{PROVIDERS}_delete", args=[model.provider.pk]), {"post": "yes"}
    )
    assert not Provider.objects.exists()
    assert not ChatModel.objects.exists()


def test_who_may_not_delete_what_goes_along_may_not_delete(
    client: Client, model: ChatModel
) -> None:
    user = User.objects.create_user("operator", is_staff=True)
    names = ("view_provider", "delete_provider", "view_chatmodel")
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client.force_login(user)
    assert "doesn't have permission" in read_page(
        client, f"{PROVIDERS}_delete", model.provider.pk
    ).replace("&#x27;", "'")
    client.post(reverse(f"admin:{PROVIDERS}_delete", args=[model.provider.pk]), {"post": "yes"})
    assert Provider.objects.exists()


@pytest.mark.parametrize(
    ("number", "count", "more"),
    [(1, 10, True), (2, 12, True), (5, 18, True), (7, 22, True), (8, 23, False), (99, 10, True)],
)
def test_the_paginator_looks_a_few_pages_ahead_and_counts_nothing(
    provider: Provider, number: int, count: int, more: bool
) -> None:
    rows = [
        ChatModel(provider=provider, public_id=f"m{n:02}", upstream_name="m") for n in range(23)
    ]
    ChatModel.objects.bulk_create(rows)
    paginator = AheadPaginator(ChatModel.objects.all(), 2)
    paginator.number = number
    with CaptureQueriesContext(connection) as queries:
        assert (paginator.count, paginator.has_more) == (count, more)
    assert not any("COUNT(" in query["sql"] for query in queries)
