"""Triggers that mark API keys as changed when their limits, teams or memberships change.

They exist for SQLite and Postgres. Like the trigger in `user_triggers.py` they set a watched column
of each key concerned to its own value, so that the triggers of `providers/database/revisions.py`
stamp the key and each process drops it from its cache within a second:

    limits of a key        that key
    limits of a user       the user's keys
    a membership           the keys of the user who was or is the member
    a team, its limits     the keys of all members of any team, as teams may be part of each other

On SQLite a migration that makes one of the tables api_apikey, api_teammember, api_limitset or
api_team anew, as most changes of columns do, must drop these triggers first, forwards and
backwards, because they name each other's tables: proxysite_touch_api_limitset_insert, _update and
_delete, and those of api_teammember and api_team (api/migrations/0019_limit_validators.py shows
how). They are made again after each `migrate`.
"""

from collections.abc import Iterator

from providers.database.triggers import Trigger, TriggerSet

LIMITS = "api_limitset"
MEMBERS = "api_teammember"
TEAMS = "api_team"
KEYS = "api_apikey"
EVENTS = ("INSERT", "UPDATE", "DELETE")
TOUCH_KEYS = "UPDATE api_apikey SET user_id = user_id WHERE"
IS_OF_TEAM_MEMBER = "user_id IN (SELECT user_id FROM api_teammember)"
# by table: the keys that a changed row concerns; {row} is NEW or OLD
CONDITIONS = {
    LIMITS: (
        f"id = {{row}}.key_id OR user_id = {{row}}.user_id "
        f"OR ({{row}}.team_id IS NOT NULL AND {IS_OF_TEAM_MEMBER})"
    ),
    MEMBERS: "user_id = {row}.user_id",
    TEAMS: IS_OF_TEAM_MEMBER,
}
FUNCTION = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        {touch_old}
    END IF;
    IF TG_OP <> 'DELETE' THEN
        {touch_new}
    END IF;
    RETURN NULL;
END $$
"""


def list_limit_triggers() -> list[TriggerSet]:
    """Return the triggers of limits, memberships and teams."""
    return [make_trigger_set(table) for table in CONDITIONS]


def make_trigger_set(table: str) -> TriggerSet:
    """Return the triggers of one table, and the function that they call on Postgres."""
    name = make_name(table)
    function = FUNCTION.format(
        name=name, touch_old=render_touch(table, "OLD"), touch_new=render_touch(table, "NEW")
    )
    definition = f"AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"
    return TriggerSet(
        frozenset((LIMITS, MEMBERS, TEAMS, KEYS)),
        sqlite=tuple(list_sqlite_triggers(table)),
        postgres=(Trigger(name, table, f"{definition} EXECUTE FUNCTION {name}()"),),
        functions={name: function},
    )


def list_sqlite_triggers(table: str) -> Iterator[Trigger]:
    """Yield a trigger for each kind of change; SQLite has none for several."""
    for event in EVENTS:
        rows = ["OLD", "NEW"]
        if event != "UPDATE":
            rows = ["NEW"] if event == "INSERT" else ["OLD"]
        body = " ".join(render_touch(table, row) for row in rows)
        definition = f"AFTER {event} ON {table} BEGIN {body} END"
        yield Trigger(make_name(table, event), table, definition)


def make_name(table: str, event: str = "") -> str:
    return f"proxysite_touch_{table}{'_' if event else ''}{event.lower()}"


def render_touch(table: str, row: str) -> str:
    """Return the statement that touches the keys which a changed row concerns."""
    return f"{TOUCH_KEYS} {CONDITIONS[table].format(row=row)};"
