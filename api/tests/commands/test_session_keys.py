"""Keys whose sessions are remembered: new ones that ask for it, and those of earlier releases."""

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from api import authentication, keys
from api.models import ApiKey
from providers.tests.command_runner import run

BEFORE = ("api", "0006_plain_help_texts")
AFTER = ("api", "0007_remembers_sessions")


@pytest.mark.django_db
@pytest.mark.parametrize(("options", "expected"), [((), False), (("--sessions",), True)])
def test_a_new_key_remembers_sessions_only_when_it_is_issued_so(options, expected):
    key = run("issue_key", "alice", *options).strip()
    caller = authentication.load_caller(keys.digest_key(key))
    assert caller is not None
    assert caller.remembers_sessions is expected


def test_a_key_of_an_earlier_release_goes_on_to_remember(transactional_db):
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    old = MigrationExecutor(connection).loader.project_state([BEFORE]).apps
    user = old.get_model("auth", "User").objects.create(username="ann")
    old.get_model("api", "ApiKey").objects.create(user=user, prefix="sk-ps-old", digest="d")
    try:
        MigrationExecutor(connection).migrate([AFTER])
        assert ApiKey.objects.values_list("remembers_sessions", flat=True).get() is True
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
        emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)
