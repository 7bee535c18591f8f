"""Triggers that write a `Transition` whenever a token's state changes, for SQLite and Postgres.

They work for every writer (ORM, bulk update, psql). The row says the old and the new state, the
time, the reason and the request that caused it. A token is in one of these states here: active,
resting (active, but with a cooldown), exhausted, failing, disabled. A row is written for each
change from one to another, and for each cooldown that begins. The end of a cooldown writes no row.
`cause` is kept only if the change named one: a cause left from an earlier change does not count.
"""

from providers.database.triggers import Trigger, TriggerSet

NAME = "proxysite_transition"
TABLE = "tokens_upstreamtoken"

WORD = """CASE WHEN {row}.state <> 'active' THEN {row}.state
    WHEN {row}.rests_until > {now} THEN 'resting' ELSE 'active' END"""
NEW_REST = "NEW.rests_until > {now} AND (OLD.rests_until IS NULL OR OLD.rests_until <= {now})"

SQLITE = """
AFTER UPDATE OF state, rests_until ON tokens_upstreamtoken
WHEN {before} <> {after} OR ({new_rest})
BEGIN
    INSERT INTO tokens_transition (token_id, at, before, after, reason, cause)
    VALUES (NEW.id, {now}, {before}, {after}, NEW.reason,
            CASE WHEN NEW.cause <> OLD.cause THEN NEW.cause ELSE '' END);
END
"""
POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION proxysite_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    before text := {before};
    after text := {after};
BEGIN
    IF before <> after OR ({new_rest}) THEN
        INSERT INTO tokens_transition (token_id, at, before, after, reason, cause)
        VALUES (NEW.id, moment, before, after, NEW.reason,
                CASE WHEN NEW.cause <> OLD.cause THEN NEW.cause ELSE '' END);
    END IF;
    RETURN NULL;
END $$
"""
POSTGRES = """
AFTER UPDATE OF state, rests_until ON tokens_upstreamtoken
FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.rests_until IS DISTINCT FROM NEW.rests_until)
EXECUTE FUNCTION proxysite_transition()
"""


def list_transition_triggers() -> TriggerSet:
    """Return the trigger that writes transitions."""
    sqlite_now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"  # Django's format of times
    return TriggerSet(
        frozenset((TABLE, "tokens_transition")),
        sqlite=(Trigger(NAME, TABLE, _filled(SQLITE, sqlite_now)),),
        postgres=(Trigger(NAME, TABLE, POSTGRES),),
        functions={NAME: _filled(POSTGRES_FUNCTION, "moment")},
    )


def _filled(statement: str, now: str) -> str:
    """Return the statement with its conditions; `now` is the present time in each of them."""
    words = {row: WORD.format(row=row, now=now) for row in ("OLD", "NEW")}
    new_rest = NEW_REST.format(now=now)
    return statement.format(before=words["OLD"], after=words["NEW"], new_rest=new_rest, now=now)
