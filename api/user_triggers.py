"""A trigger that marks a user's API keys as changed when the user is switched on or off.

It exists for SQLite and Postgres. It sets a watched column of each key to its own value, so that
the triggers of `providers/database/revisions.py` stamp the key. Then each process drops the keys of
this user from its cache and no others.
"""

from providers.database.revisions import unwatched_table
from providers.database.triggers import Trigger, TriggerSet

NAME = "proxysite_user_switched"
TOUCH = "UPDATE api_apikey SET user_id = user_id WHERE user_id = NEW.id;"
POSTGRES_FUNCTION = f"""
CREATE OR REPLACE FUNCTION proxysite_user_switched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {TOUCH}
    RETURN NULL;
END $$
"""
POSTGRES = """
AFTER UPDATE OF is_active ON {users}
FOR EACH ROW WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active)
EXECUTE FUNCTION proxysite_user_switched()
"""
SQLITE = """
AFTER UPDATE OF is_active ON {users} WHEN OLD.is_active <> NEW.is_active
BEGIN {touch} END
"""


def list_user_triggers(users: str) -> list[TriggerSet]:
    """Return the trigger of the table `users`, and the removal of those of earlier releases."""
    switched = TriggerSet(
        frozenset((users, "api_apikey")),
        sqlite=(Trigger(NAME, users, SQLITE.format(users=users, touch=TOUCH)),),
        postgres=(Trigger(NAME, users, POSTGRES.format(users=users)),),
        functions={NAME: POSTGRES_FUNCTION},
    )
    return [unwatched_table(users), switched]
