"""Triggers that write a Farewell when a conversation loses its chat at an upstream.

They write it in the same transaction: the conversation is deleted, continues in another chat, or
loses its chat, whether by this program's code, a cascade, an UPDATE of many rows or psql.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from providers.database.triggers import Trigger, TriggerSet, drop_triggers, install_triggers

TABLE = "conversations_conversation"
KEPT = "OLD.chat_id <> '' AND OLD.token_id IS NOT NULL"
LOST = (
    f"{KEPT} AND (NEW.chat_id <> OLD.chat_id OR NEW.token_id IS NULL OR NEW.token_id <> "
    "OLD.token_id)"
)
DELETE = "AFTER DELETE ON conversations_conversation FOR EACH ROW"
UPDATE = "AFTER UPDATE OF chat_id, token_id ON conversations_conversation FOR EACH ROW"
WRITE = "INSERT INTO conversations_farewell (token_id, chat_id) VALUES (OLD.token_id, OLD.chat_id);"
FUNCTION = f"""
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
"""  # noqa: S608 - its own words
TRIGGERS = TriggerSet(
    frozenset((TABLE, "conversations_farewell")),
    sqlite=(
        Trigger(
            "conversations_part_delete",
            TABLE,
            f"{DELETE} WHEN {KEPT} BEGIN {WRITE} END",
        ),
        Trigger(
            "conversations_part_update",
            TABLE,
            f"{UPDATE} WHEN {LOST} BEGIN {WRITE} END",
        ),
    ),
    postgres=(
        Trigger(
            "conversations_part_delete",
            TABLE,
            f"{DELETE} WHEN ({KEPT}) EXECUTE FUNCTION conversations_part()",
        ),
        Trigger(
            "conversations_part_update",
            TABLE,
            f"{UPDATE} WHEN ({LOST}) EXECUTE FUNCTION conversations_part()",
        ),
        Trigger(
            "conversations_part_truncate",
            TABLE,
            f"BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION conversations_part()",
        ),
    ),
    functions={"conversations_part": FUNCTION},
)


def install(database: BaseDatabaseWrapper) -> None:
    """Create the triggers again, for the migration. Writes the schema alone."""
    install_triggers(database, [TRIGGERS])


def drop(database: BaseDatabaseWrapper) -> None:
    """Drop the triggers, for the migration. Writes the schema alone."""
    drop_triggers(database, TRIGGERS)
