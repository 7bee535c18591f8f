"""Forms of the admin with many rows to choose from: few queries, and no list of all of them."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from api import keys
from api.models import ApiKey, Team, TeamMember
from conversations.models import Document, StoredFile
from providers.models import ChatModel, ModelAlias, Provider
from proxysite.models import LoginSession
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
ROWS = 300
MOST_QUERIES = 40
MOST_BYTES = 120_000
ID_OF_USER = "user-number-"


@pytest.fixture
def team() -> Team:
    """A team of ROWS users with a key each, beside other teams; some rows of other kinds."""
    team = Team.objects.create(name="all")
    Team.objects.bulk_create([Team(name=f"team {n}", parent=team) for n in range(ROWS)])
    users = User.objects.bulk_create([User(username=f"{ID_OF_USER}{n}") for n in range(ROWS)])
    TeamMember.objects.bulk_create([TeamMember(team=team, user=user) for user in users])
    ApiKey.objects.bulk_create(
        [
            ApiKey(user=user, name="k", prefix=f"{keys.KEY_PREFIX}{n:05}", digest=f"{n:064}")
            for n, user in enumerate(users)
        ]
    )
    provider = Provider.objects.create(name="echo", kind="echo")
    ChatModel.objects.bulk_create(
        [
            ChatModel(provider=provider, public_id=f"model-{n}", upstream_name=f"m-{n}")
            for n in range(ROWS)
        ]
    )
    ModelAlias.objects.create(alias="other", public_id="model-1")
    UpstreamToken.objects.create(provider=provider, fingerprint="f", sealed="s", masked="a…b")
    Document.objects.create(user=users[0], digest="d")
    StoredFile.objects.create(
        pk="file-1", user=users[0], filename="f", purpose="user_data", size_bytes=1
    )
    LoginSession.objects.create(session_key="s", user=users[0])
    return team


def list_form_addresses(team: Team) -> Iterator[str]:
    """Yield the addresses of all forms that add or change rows, in each admin."""
    for model in admin.site._registry:
        options = model._meta
        name = f"admin:{options.app_label}_{options.model_name}"
        with suppress(NoReverseMatch):
            yield reverse(f"{name}_add")
        row = team if model is Team else model._default_manager.order_by("-pk").first()
        if row is not None:
            yield reverse(f"{name}_change", args=[row.pk])


def test_each_form_takes_few_queries_and_is_of_bounded_size(
    admin_client: Client, team: Team
) -> None:
    too_much = []
    shown_users = {}
    for address in list_form_addresses(team):
        with CaptureQueriesContext(connection) as queries:
            content = admin_client.get(address, follow=True).content
        if len(queries) > MOST_QUERIES or len(content) > MOST_BYTES:
            too_much.append((address, len(queries), len(content)))
        options = content.count(f"{ID_OF_USER}".encode() + b"1")
        shown_users[address] = options
    assert not too_much
    page_of_team = reverse("admin:api_team_change", args=[team.pk])
    others = {address: n for address, n in shown_users.items() if address != page_of_team}
    assert max(others.values()) < 10, others
