"""Triggers that write an UpstreamChatDeletion when a conversation loses its chat at an upstream.

They write it in the same transaction: the conversation is deleted, continues in another chat, or
loses its chat, whether by this program's code, a cascade, an UPDATE of many rows or psql.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from providers.database.triggers import Trigger, TriggerSet, drop_triggers, install_triggers

TABLE = "conversations_conversation"
HAD_CHAT = "OLD.chat_id <> '' AND OLD.token_id IS NOT NULL"
LOST_CHAT = (
    f"{HAD_CHAT} AND (NEW.chat_id <> OLD.chat_id OR NEW.token_id IS NULL OR NEW.token_id <> "
    "OLD.token_id)"
)
AFTER_DELETE = "AFTER DELETE ON conversations_conversation FOR EACH ROW"
AFTER_UPDATE = "AFTER UPDATE OF chat_id, token_id ON conversations_conversation FOR EACH ROW"
INSERT_DELETION = (
    "INSERT INTO conversations_upstreamchatdeletion (token_id, chat_id) "
    "VALUES (OLD.token_id, OLD.chat_id);"
)
FUNCTION = f"""
CREATE OR REPLACE FUNCTION conversations_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO conversations_upstreamchatdeletion (token_id, chat_id) SELECT token_id, chat_id
        FROM conversations_conversation WHERE chat_id <> '' AND token_id IS NOT NULL;
    ELSE
        {INSERT_DELETION}
    END IF;
    RETURN NULL;
END $$
"""  # noqa: S608 - its own words
TRIGGERS = TriggerSet(
    frozenset((TABLE, "conversations_upstreamchatdeletion")),
    sqlite=(
        Trigger(
            "conversations_part_delete",
            TABLE,
            f"{AFTER_DELETE} WHEN {HAD_CHAT} BEGIN {INSERT_DELETION} END",
        ),
        Trigger(
            "conversations_part_update",
            TABLE,
            f"{AFTER_UPDATE} WHEN {LOST_CHAT} BEGIN {INSERT_DELETION} END",
        ),
    ),
    postgres=(
        Trigger(
            "conversations_part_delete",
            TABLE,
            f"{AFTER_DELETE} WHEN ({HAD_CHAT}) EXECUTE FUNCTION conversations_part()",
        ),
        Trigger(
            "conversations_part_update",
            TABLE,
            f"{AFTER_UPDATE} WHEN ({LOST_CHAT}) EXECUTE FUNCTION conversations_part()",
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
