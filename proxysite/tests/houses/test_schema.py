"""A database whose tables are not what the models say: repaired where that is known how, else
refused by name.
"""

import asyncio

import httpx
import pytest
from django.conf import settings

CONSTRAINT = """
    ALTER TABLE conversations_turn ADD CONSTRAINT turn_user_earlier
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    DEFERRABLE INITIALLY DEFERRED
"""


async def say(house, key, text):
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": text}],
        "conversation_id": "c-1",
    }
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=10) as http:
        headers = {"authorization": f"Bearer {key}"}
        return (await http.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def test_a_database_made_by_the_earlier_text_of_a_migration_gets_what_it_lacks(
    own_house, house_key
):
    await asyncio.to_thread(own_house.start)
    assert await say(own_house, house_key, "One.") == 200
    assert own_house.end_process() == 0
    own_house.run_manage_command("migrate", "conversations", "0007")
    own_house.run_sql("ALTER TABLE conversations_turn DROP COLUMN replaced")
    own_house.run_sql("ALTER TABLE conversations_item DROP COLUMN told")
    own_house.run_sql("DROP INDEX turn_stored_bytes")
    own_house.run_sql(
        "ALTER TABLE conversations_turn DROP COLUMN stored_bytes"
    )  # migration 0007 adds it again
    own_house.run_sql(
        "DELETE FROM django_migrations WHERE app = 'conversations' AND name >= '0006'"
    )
    if not settings.EMBEDDED_DATABASE:
        own_house.run_sql(CONSTRAINT)
    await asyncio.to_thread(own_house.start)
    assert await say(own_house, house_key, "Two.") == 200
    assert own_house.run_sql("SELECT count(*) FROM conversations_turn WHERE NOT is_replaced") == [
        (2,)
    ]
    without_digest = "SELECT count(*) FROM conversations_item WHERE received_digest IS NULL"
    assert own_house.run_sql(without_digest) == [(0,)]
    if not settings.EMBEDDED_DATABASE:
        assert own_house.run_sql(
            "SELECT count(*) FROM pg_constraint WHERE conname = 'turn_user_earlier'"
        ) == [(0,)]


def test_a_database_of_a_newer_release_is_refused_by_name_and_left_as_it_is(own_house):
    own_house.run_sql(
        "INSERT INTO django_migrations (app, name, applied) "
        "VALUES ('api', '0999_of_the_future', '2031-01-01 00:00:00+00:00')"
    )
    assert own_house.launch_process("--port", "0").wait(30) == 1
    assert "api.0999_of_the_future" in own_house.output
    assert "newer release" in own_house.output
    assert own_house.output.count("\n") == 1, own_house.output
    own_house.run_sql("DELETE FROM django_migrations WHERE name = '0999_of_the_future'")
    own_house.start()


@pytest.mark.parametrize(
    "column", ["providers_provider.native_tools", "conversations_turn.thinking"]
)
def test_a_column_that_is_missing_is_named_and_the_gateway_does_not_start(own_house, column):
    table, name = column.split(".")
    own_house.run_sql(f"ALTER TABLE {table} DROP COLUMN {name}")
    assert own_house.launch_process("--port", "0").wait(30) == 1
    assert column in own_house.output
    assert own_house.output.count("\n") == 1, own_house.output
