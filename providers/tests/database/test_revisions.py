"""Which changes raise the version of a topic, stamp rows and leave tombstones."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from providers.database.revisions import CHANNEL, TOMBSTONES_AT_ONCE
from providers.database.triggers import install_triggers
from providers.models import ChatModel, ModelAlias, Provider
from providers.tests.database.topics import Bumped, find_tombstones, floor, list_ids, version
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
POSTGRES = connection.vendor == "postgresql"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(name="p", kind="echo")


@pytest.fixture
def token(provider: Provider) -> UpstreamToken:
    row = UpstreamToken.from_secret(provider, "sk-made-up-token-1")
    row.save()
    return row


def changed(token: UpstreamToken) -> int:
    return UpstreamToken.objects.values_list("changed", flat=True).get(pk=token.pk)


# --- the catalogue --------------------------------------------------------------------------------
def test_every_change_of_providers_models_and_aliases_raises_the_catalogue(
    provider: Provider,
) -> None:
    made: list[Any] = []
    deeds = {
        "insert a provider": lambda: Provider.objects.create(name="q", kind="echo"),
        "save a provider": lambda: provider.save(),
        "update providers": lambda: Provider.objects.update(enabled=False),
        "insert a model": lambda: made.append(
            ChatModel.objects.create(public_id="m", provider=provider, upstream_name="m")
        ),
        "update models": lambda: ChatModel.objects.update(weight=F("weight") + 1),
        "insert many": lambda: ChatModel.objects.bulk_create(
            [ChatModel(public_id=f"m{n}", provider=provider, upstream_name="m") for n in range(3)]
        ),
        "an alias": lambda: ModelAlias.objects.create(alias="a", public_id="m"),
        "delete aliases": lambda: ModelAlias.objects.all().delete(),
        "delete a model": lambda: made[0].delete(),
    }
    for name, deed in deeds.items():
        with Bumped() as bumped:
            deed()
        assert bumped.topics == {"catalogue"}, name


def test_a_change_made_by_plain_sql_counts_too(provider: Provider) -> None:
    with Bumped() as bumped, connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET base_url = 'https://other.example'")
    assert bumped.topics == {"catalogue"}


def test_reading_raises_nothing(provider: Provider, token: UpstreamToken) -> None:
    with Bumped() as bumped:
        list(Provider.objects.all())
        list(UpstreamToken.objects.select_related("provider"))
    assert bumped.topics == set()


# --- tokens ---------------------------------------------------------------------------------------
def test_a_new_token_raises_its_topic_and_is_stamped_with_the_version(provider: Provider) -> None:
    seen = version("tokens")
    with Bumped() as bumped:
        row = UpstreamToken.from_secret(provider, "sk-made-up-token-2")
        row.save()
    assert bumped.topics == {"tokens"}
    assert seen < changed(row) <= version("tokens")


@pytest.mark.parametrize(
    "change",
    [
        {"state": "disabled"},
        {"strikes": 1},
        {"rests_until": timezone.now() + timedelta(hours=1)},
        {"expires_at": timezone.now() + timedelta(hours=1)},
        {"priority": 3},
        {"weight": 3},
        {"sealed": "v1.k1.x"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_watched_column_raises_the_version_and_stamps_the_row(
    token: UpstreamToken, change: dict[str, Any]
) -> None:
    seen = version("tokens")
    with Bumped() as bumped:
        assert UpstreamToken.objects.filter(pk=token.pk).update(**change) == 1
    assert bumped.topics == {"tokens"}
    assert seen < changed(token) <= version("tokens")


def test_counters_and_texts_raise_nothing(token: UpstreamToken) -> None:
    stamp = changed(token)
    with Bumped() as bumped:
        UpstreamToken.objects.update(
            requests=F("requests") + 1, failures=1, last_used_at=timezone.now()
        )
        UpstreamToken.objects.update(label="account of June", last_failure_at=timezone.now())
    assert bumped.topics == set()
    assert changed(token) == stamp


def test_saving_a_whole_row_raises_the_version_and_does_not_lose_the_stamp(
    token: UpstreamToken,
) -> None:
    seen = version("tokens")
    token.label = "x"
    token.save()  # writes every column, `changed` with the number this object was read with
    assert changed(token) > seen


def test_rows_made_in_bulk_are_stamped_each(provider: Provider) -> None:
    seen = version("tokens")
    rows = [UpstreamToken.from_secret(provider, f"sk-made-up-{number:04}") for number in range(25)]
    UpstreamToken.objects.bulk_create(rows)
    assert (
        UpstreamToken.objects.filter(changed__gt=seen, changed__lte=version("tokens")).count() == 25
    )


def test_only_the_changed_rows_are_above_what_was_seen(provider: Provider) -> None:
    rows = [UpstreamToken.from_secret(provider, f"sk-made-up-{number:04}") for number in range(5)]
    UpstreamToken.objects.bulk_create(rows)
    seen = version("tokens")
    UpstreamToken.objects.filter(pk__in=[rows[1].pk, rows[3].pk]).update(strikes=1)
    found = UpstreamToken.objects.filter(changed__gt=seen).values_list("pk", flat=True)
    assert set(found) == {rows[1].pk, rows[3].pk}


def test_bulk_update_stamps_too(provider: Provider) -> None:
    rows = [UpstreamToken.from_secret(provider, f"sk-made-up-{number:04}") for number in range(4)]
    UpstreamToken.objects.bulk_create(rows)
    seen = version("tokens")
    for row in rows[:2]:
        row.weight = 7
    UpstreamToken.objects.bulk_update(rows[:2], ["weight"])
    assert set(UpstreamToken.objects.filter(changed__gt=seen)) == set(rows[:2])


def test_a_deleted_token_leaves_a_tombstone_with_its_version_and_lifts_no_floor(
    provider: Provider,
) -> None:
    rows = [UpstreamToken.from_secret(provider, f"sk-made-up-{number:04}") for number in range(3)]
    before = floor("tokens")
    UpstreamToken.objects.bulk_create(rows)
    UpstreamToken.objects.update(strikes=1)
    assert floor("tokens") == before
    seen = version("tokens")
    expected = list_ids(rows[0])
    rows[0].delete()
    assert find_tombstones("tokens", seen) == expected
    assert floor("tokens") == before
    seen = version("tokens")
    expected = list_ids(*rows[1:])
    UpstreamToken.objects.filter(pk__in=[row.pk for row in rows[1:]]).delete()
    assert find_tombstones("tokens", seen) == expected


def test_a_deletion_that_is_rolled_back_leaves_no_tombstone(token: UpstreamToken) -> None:
    before = find_tombstones("tokens", 0)
    with transaction.atomic():
        UpstreamToken.objects.all().delete()
        assert find_tombstones("tokens", 0) != before
        transaction.set_rollback(True)
    assert find_tombstones("tokens", 0) == before


@pytest.mark.skipif(not POSTGRES, reason="one row at a time on SQLite")
def test_very_many_deleted_at_once_and_truncate_lift_the_floor(provider: Provider) -> None:
    seen = version("tokens")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tokens_upstreamtoken (id, provider_id, kind, label, sealed, "
            "sealed_refresh, fingerprint,"
            " masked, state, reason, strikes, priority, weight, busy_with, cause, requests, "
            "failures, created_at,"
            " changed)"
            " SELECT gen_random_uuid(), %s, 'key', '', '', '', n, '', 'active', '', 0, 0, 1, "
            "'', '', 0, 0, now(), 0"
            " FROM generate_series(1, %s) AS n",
            [provider.pk, TOMBSTONES_AT_ONCE + 1],
        )
        cursor.execute("DELETE FROM tokens_upstreamtoken")
        assert find_tombstones("tokens", seen) == set()
        assert floor("tokens") == version("tokens")
        before = floor("tokens")
        cursor.execute(
            "SET CONSTRAINTS ALL IMMEDIATE"
        )  # what waits for the end of the transaction forbids TRUNCATE
        cursor.execute("TRUNCATE tokens_upstreamtoken CASCADE")
    assert floor("tokens") == version("tokens") > before


def test_tokens_that_go_with_their_provider_leave_tombstones(
    provider: Provider, token: UpstreamToken
) -> None:
    seen = version("tokens")
    expected = list_ids(token)
    with Bumped() as bumped:
        provider.delete()
    assert bumped.topics >= {"tokens", "catalogue"}
    assert find_tombstones("tokens", seen) == expected
    assert floor("tokens") <= seen


# --- transactions ---------------------------------------------------------------------------------
def test_a_change_that_is_rolled_back_raises_nothing(provider: Provider) -> None:
    with Bumped() as bumped, transaction.atomic():
        Provider.objects.update(enabled=False)
        transaction.set_rollback(True)
    assert bumped.topics == set()


def test_the_triggers_can_be_installed_again(token: UpstreamToken) -> None:
    from providers import apps as providers_app
    from tokens import apps as tokens_app

    for app in (providers_app, tokens_app):
        install_triggers(connection, app.list_trigger_sets())
    before = version("tokens")
    UpstreamToken.objects.update(strikes=1)
    assert version("tokens") == before + 1


@pytest.mark.skipif(not POSTGRES, reason="NOTIFY is Postgres's")
@pytest.mark.usefixtures("transactional_db")
def test_a_committed_change_is_told_to_listeners_on_postgres() -> None:
    import psycopg

    known = ("dbname", "user", "password", "host", "port")
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name in known
    }
    with psycopg.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        Provider.objects.create(name="p", kind="echo")
        heard = list(listener.notifies(timeout=10, stop_after=1))
    assert [(note.channel, note.payload) for note in heard] == [(CHANNEL, "catalogue")]
