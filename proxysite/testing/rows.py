"""Rows for tests, made by plain functions, and their removal.

Call the functions in database threads or synchronous fixtures.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.db.models import Model

from api import keys
from api.models import ApiKey, UsageRecord
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, ModelAlias, Provider, VirtualModel
from tokens.models import UpstreamToken

Row = TypeVar("Row", bound=Model)
# tables that tests only read, and the versions, which never go back
KEPT_TABLES = frozenset(
    ("django_migrations", "django_content_type", "auth_permission", "providers_revision")
)
TOMBSTONES = "providers_tombstone"  # the deletions of other rows write them


@dataclass(frozen=True, slots=True)
class Person:
    """A user with an API key; `key` is its text, `row` the ApiKey."""

    user: AbstractBaseUser
    key: str
    row: ApiKey


def create_person(name: str, *, models: Iterable[str] = (), **fields: Any) -> Person:
    """Return the user of that name with a new API key; the user is created when there is none.

    `models` are the models that the key may use; without any it may use all.
    """
    users: Any = get_user_model().objects
    user = users.filter(username=name).first() or users.create_user(name, password=name, **fields)
    row, key = keys.create_key(user, name="test", models=models)
    return Person(user, key, row)


def create_provider(
    base_url: str, name: str = "fake", *, models: Iterable[str] = ("m",), **fields: Any
) -> Provider:
    """Create an OpenAI-compatible provider on this machine with its models.

    Each model is `public` or `public=upstream`.
    """
    values = {"kind": "openai_compatible", "base_url": base_url, "allow_private": True} | fields
    row = Provider.objects.create(name=name, **values)
    for entry in models:
        create_model(row, *entry.split("="))
    return row


def move_providers(*providers: Provider, base_url: str, **fields: Any) -> None:
    """Move these providers to `base_url`, and confirm that their tokens may be sent there."""
    values = {"base_url": base_url} | fields
    for row in providers:
        for name, value in values.items():
            setattr(row, name, value)
        row.confirm_destination()
        row.save()


def move_all_providers(base_url: str, **fields: Any) -> None:
    """Move all providers to `base_url`, like `move_providers`."""
    move_providers(*Provider.objects.all(), base_url=base_url, **fields)


def create_model(
    owner: Provider, public_id: str, upstream_name: str = "upstream-model", **fields: Any
) -> ChatModel:
    return ChatModel.objects.create(
        provider=owner, public_id=public_id, upstream_name=upstream_name, **fields
    )


def create_virtual_model(public_id: str, base: str, strategy: str, **options: Any) -> VirtualModel:
    return VirtualModel.objects.create(
        public_id=public_id, base=base, strategy=strategy, options=options
    )


def create_alias(name: str, public_id: str) -> ModelAlias:
    return ModelAlias.objects.create(alias=name, public_id=public_id)


def create_tokens(owner: Provider, *secrets: str, **fields: Any) -> list[UpstreamToken]:
    """Create one token per secret, in their order."""
    rows = []
    for secret in secrets:
        rows.append(UpstreamToken.from_secret(owner, secret, **fields))
        rows[-1].save()
    return rows


async def read_usage_records() -> list[UsageRecord]:
    """Return the usage records, oldest first."""
    return await run_in_thread(lambda: list(UsageRecord.objects.order_by("id")))


async def read_only_usage_record() -> UsageRecord:
    """Return the only usage record. Fails when there are more or none."""
    rows = await read_usage_records()
    assert len(rows) == 1, rows
    return rows[0]


async def reload_row(row: Row) -> Row:
    """Return the row as it is in the database now."""
    return await run_in_thread(type(row)._default_manager.get, pk=row.pk)


def sweep_database() -> None:
    """Delete everything that a test committed, in all tables.

    This is faster than Django's `flush`, which truncates.
    """
    if connection.vendor == "sqlite":
        connection.close_if_unusable_or_obsolete()  # a test may have broken the connection
        with connection.cursor() as cursor:
            cursor.executescript(f"BEGIN IMMEDIATE; {build_sweep()}; COMMIT")
        return
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {build_sweep()}; COMMIT")
    connection.close()


@cache
def build_sweep() -> str:
    """Return the statements that empty all tables but KEPT_TABLES."""
    tables = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
    }
    ordered = [*sorted(tables - KEPT_TABLES - {TOMBSTONES}), TOMBSTONES]
    return "; ".join(f'DELETE FROM "{table}"' for table in ordered)  # noqa: S608
