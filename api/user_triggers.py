"""A trigger that marks a user's API keys as changed when the user is switched on or off.

It exists for SQLite and Postgres. It sets a watched column of each key to its own value, so that
the triggers of `providers/database/revisions.py` stamp the key. Then each process drops the keys of
this user from its cache and no others.
"""

from providers.database.revisions import make_drop_set
from providers.database.triggers import Trigger, TriggerSet

TRIGGER_NAME = "proxysite_user_switched"
TOUCH_KEYS_SQL = "UPDATE api_apikey SET user_id = user_id WHERE user_id = NEW.id;"
POSTGRES_FUNCTION = f"""
CREATE OR REPLACE FUNCTION proxysite_user_switched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {TOUCH_KEYS_SQL}
    RETURN NULL;
END $$
"""
POSTGRES_TRIGGER = """
AFTER UPDATE OF is_active ON {users}
FOR EACH ROW WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active)
EXECUTE FUNCTION proxysite_user_switched()
"""
SQLITE_TRIGGER = """
AFTER UPDATE OF is_active ON {users} WHEN OLD.is_active <> NEW.is_active
BEGIN {touch} END
"""


def list_user_triggers(users: str) -> list[TriggerSet]:
    """Return the trigger of the table `users`, and the removal of those of earlier releases."""
    switched = TriggerSet(
        frozenset((users, "api_apikey")),
        sqlite=(
            Trigger(TRIGGER_NAME, users, SQLITE_TRIGGER.format(users=users, touch=TOUCH_KEYS_SQL)),
        ),
        postgres=(Trigger(TRIGGER_NAME, users, POSTGRES_TRIGGER.format(users=users)),),
        functions={TRIGGER_NAME: POSTGRES_FUNCTION},
    )
    return [make_drop_set(users), switched]
