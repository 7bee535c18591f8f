"""Triggers that write a `Transition` whenever a token's state changes, for SQLite and Postgres.

Whoever changes it (ORM, bulk update, psql), the row says from what to what, when, why and because
of which request. A token is in one of four states here: active, resting (active, but not before a
time that has not come), exhausted, disabled. What is written: each change from one to another, and
each rest that begins anew. That a rest is over shows no row: nothing is written when its time
comes. `cause` is kept only of a change that named one: what is left from an earlier change is no
cause.
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
    sqlite_now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"  # as Django writes times
    return TriggerSet(
        frozenset((TABLE, "tokens_transition")),
        sqlite=(Trigger(NAME, TABLE, _filled(SQLITE, sqlite_now)),),
        postgres=(Trigger(NAME, TABLE, POSTGRES),),
        functions={NAME: _filled(POSTGRES_FUNCTION, "moment")},
    )


def _filled(statement: str, now: str) -> str:
    """Return the statement with its conditions, in each of which the present time is `now`."""
    words = {row: WORD.format(row=row, now=now) for row in ("OLD", "NEW")}
    new_rest = NEW_REST.format(now=now)
    return statement.format(before=words["OLD"], after=words["NEW"], new_rest=new_rest, now=now)
