"""Triggers that write a `Transition` whenever a token's state changes, for SQLite and Postgres.

They work for every writer (ORM, bulk update, psql). The row says the old and the new state, the
time, the reason and the request that caused it. A token is in one of these states here: active,
resting (active, but with a cooldown), exhausted, failing, disabled. A row is written for each
change from one to another, for each cooldown that begins, and for each strike, whose row has the
same state before and after. The end of a cooldown writes no row.
`cause` is kept only if the change named one: a cause left from an earlier change does not count.
"""

from providers.database.triggers import Trigger, TriggerSet

TRIGGER_NAME = "proxysite_transition"
TOKEN_TABLE = "tokens_upstreamtoken"  # noqa: S105 - no password

STATE_SQL = """CASE WHEN {row}.state <> 'active' THEN {row}.state
    WHEN {row}.rests_until > {now} THEN 'resting' ELSE 'active' END"""
NEW_COOLDOWN_SQL = (
    "NEW.rests_until > {now} AND (OLD.rests_until IS NULL OR OLD.rests_until <= {now})"
)

SQLITE_TRIGGER = """
AFTER UPDATE OF state, rests_until, strikes ON tokens_upstreamtoken
WHEN {before} <> {after} OR ({new_rest}) OR NEW.strikes > OLD.strikes
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
    IF before <> after OR ({new_rest}) OR NEW.strikes > OLD.strikes THEN
        INSERT INTO tokens_transition (token_id, at, before, after, reason, cause)
        VALUES (NEW.id, moment, before, after, NEW.reason,
                CASE WHEN NEW.cause <> OLD.cause THEN NEW.cause ELSE '' END);
    END IF;
    RETURN NULL;
END $$
"""
POSTGRES_TRIGGER = """
AFTER UPDATE OF state, rests_until, strikes ON tokens_upstreamtoken
FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.rests_until IS DISTINCT FROM NEW.rests_until
    OR NEW.strikes > OLD.strikes)
EXECUTE FUNCTION proxysite_transition()
"""


def list_transition_triggers() -> TriggerSet:
    """Return the trigger that writes transitions."""
    sqlite_now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"  # Django's format of times
    return TriggerSet(
        frozenset((TOKEN_TABLE, "tokens_transition")),
        sqlite=(Trigger(TRIGGER_NAME, TOKEN_TABLE, _fill_statement(SQLITE_TRIGGER, sqlite_now)),),
        postgres=(Trigger(TRIGGER_NAME, TOKEN_TABLE, POSTGRES_TRIGGER),),
        functions={TRIGGER_NAME: _fill_statement(POSTGRES_FUNCTION, "moment")},
    )


def _fill_statement(statement: str, now: str) -> str:
    """Return the statement with its conditions; `now` is the present time in each of them."""
    words = {row: STATE_SQL.format(row=row, now=now) for row in ("OLD", "NEW")}
    new_rest = NEW_COOLDOWN_SQL.format(now=now)
    return statement.format(before=words["OLD"], after=words["NEW"], new_rest=new_rest, now=now)
