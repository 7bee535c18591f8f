"""Triggers that write a Farewell in the same transaction in which a conversation loses its chat at an upstream.

It is deleted, goes on in another chat, or is taken out of its chat: by a deed, a cascade, an UPDATE of many or psql. On
SQLite they are made again after each `migrate`, because schema changes rebuild tables there and drop triggers.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.words import run

NEEDED = {"conversations_conversation", "conversations_farewell"}
NAMES = ("conversations_part_delete", "conversations_part_update", "conversations_part_truncate")
KEPT = "OLD.chat_id <> '' AND OLD.token_id IS NOT NULL"
LOST = f"{KEPT} AND (NEW.chat_id <> OLD.chat_id OR NEW.token_id IS NULL OR NEW.token_id <> OLD.token_id)"
DELETE = "AFTER DELETE ON conversations_conversation FOR EACH ROW"
UPDATE = "AFTER UPDATE OF chat_id, token_id ON conversations_conversation FOR EACH ROW"
WRITE = "INSERT INTO conversations_farewell (token_id, chat_id) VALUES (OLD.token_id, OLD.chat_id);"
SQLITE = (
    f"CREATE TRIGGER conversations_part_delete {DELETE} WHEN {KEPT} BEGIN {WRITE} END",
    f"CREATE TRIGGER conversations_part_update {UPDATE} WHEN {LOST} BEGIN {WRITE} END",
)
POSTGRES = (
    f"""
    CREATE OR REPLACE FUNCTION conversations_part() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            INSERT INTO conversations_farewell (token_id, chat_id) SELECT token_id, chat_id
            FROM conversations_conversation WHERE chat_id <> '' AND token_id IS NOT NULL;
        ELSE
            {WRITE}
        END IF;
        RETURN NULL;
    END $$
    """,  # noqa: S608 - its own words
    f"CREATE TRIGGER conversations_part_delete {DELETE} WHEN ({KEPT}) EXECUTE FUNCTION conversations_part()",
    f"CREATE TRIGGER conversations_part_update {UPDATE} WHEN ({LOST}) EXECUTE FUNCTION conversations_part()",
    "CREATE TRIGGER conversations_part_truncate BEFORE TRUNCATE ON conversations_conversation"
    " FOR EACH STATEMENT EXECUTE FUNCTION conversations_part()",
)


def install(database: BaseDatabaseWrapper) -> None:
    """Create the triggers again, whatever was there before; before the tables are there, nothing."""
    with database.cursor() as cursor:
        there = set(database.introspection.table_names(cursor))
    if there >= NEEDED:
        drop(database)
        run(database, POSTGRES if database.vendor == "postgresql" else SQLITE)


def drop(database: BaseDatabaseWrapper) -> None:
    on = " ON conversations_conversation" if database.vendor == "postgresql" else ""
    run(database, [f"DROP TRIGGER IF EXISTS {name}{on}" for name in NAMES])
    if database.vendor == "postgresql":
        run(database, ["DROP FUNCTION IF EXISTS conversations_part"])
