"""A trigger by which a user who is switched on or off changes his keys, for SQLite and Postgres.

It updates a watched column of each key to what it is, so that the triggers of `providers/revisions.py` stamp the key:
a process drops the keys of this user from its cache and no others.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from providers import revisions

TOUCH = "UPDATE api_apikey SET user_id = user_id WHERE user_id = NEW.id;"
POSTGRES_FUNCTION = f"""
CREATE OR REPLACE FUNCTION proxysite_user_switched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {TOUCH}
    RETURN NULL;
END $$
"""
POSTGRES = """
CREATE TRIGGER proxysite_user_switched AFTER UPDATE OF is_active ON {users}
FOR EACH ROW WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active) EXECUTE FUNCTION proxysite_user_switched()
"""
SQLITE = """
CREATE TRIGGER proxysite_user_switched AFTER UPDATE OF is_active ON {users} WHEN OLD.is_active <> NEW.is_active
BEGIN {touch} END
"""


def install(connection: BaseDatabaseWrapper, users: str) -> None:
    """Create the trigger again, whatever was there before, once both tables exist."""
    revisions.remove(connection, users)  # earlier versions watched the users themselves
    with connection.cursor() as cursor:
        if not set(connection.introspection.table_names(cursor)) >= {users, "api_apikey"}:
            return
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER IF EXISTS proxysite_user_switched ON {users}")
            cursor.execute(POSTGRES_FUNCTION)
        else:
            cursor.execute("DROP TRIGGER IF EXISTS proxysite_user_switched")
        cursor.execute((POSTGRES if connection.vendor == "postgresql" else SQLITE).format(users=users, touch=TOUCH))
