"""Delete rows that millions of other rows depend on, without blocking the database.

`create_deletions` writes a `Deletion` and marks the rows in the same transaction: from that moment
an API key is rejected, a user cannot sign in and a provider is not called. `continue_deletion` then
removes the dependent rows, DELETION_SLICE_ROWS in each transaction of its own, and finally the row
itself, so nobody waits for more than one slice. A process works under a lease, so two processes
never work at one deletion; the next run continues the work of a killed process.

An app registers in its `ready` the special rules of its models: `mark_rows` is called with the ids
when their deletion begins, `delete_with_signals` removes the rows instead of one DELETE (where
signals must be sent).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import current_app
from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import CASCADE, SET_NULL, F, ForeignObjectRel, Model, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from providers.models import Deletion

logger = logging.getLogger(__name__)
DELETION_SLICE_ROWS = 1_000  # rows of one transaction
LEASE_SECONDS = 60.0  # a killed process holds a deletion no longer than that
LONGEST_PAUSE_SECONDS = 0.25  # after a slice, so that others can use the database
TASK_NAME = "proxysite.tasks.carry_on_deletions"
NAME_LENGTH = 200
MOST_TRIES = 5  # somebody may add rows that depend on those being deleted


@dataclass(frozen=True, slots=True)
class DeletionRules:
    """The special rules of a model's deletion.

    `mark_rows` is called with the ids of the rows when their deletion begins. `delete_with_signals`
    removes the rows and returns how many. `delete_rows` removes the rows with these ids and all
    that depends on them, and yields the number of rows of each transaction. With `is_one_by_one`
    each row has a `Deletion` of its own. `get_name` returns the name of a row in its `Deletion`.
    """

    mark_rows: Callable[[list[Any]], object] = lambda ids: None
    delete_with_signals: Callable[[QuerySet[Model]], int] | None = None
    is_one_by_one: bool = False
    delete_rows: Callable[[Sequence[Any]], Iterator[int]] | None = None
    get_name: Callable[[Any], str] = str


RULES_BY_MODEL: dict[str, DeletionRules] = {}


def register_rules(model: str, rules: DeletionRules) -> None:
    """Set the rules of the model with this label, for example `auth.user`."""
    RULES_BY_MODEL[model] = rules


def get_rules(model: type[Model]) -> DeletionRules:
    """Return the rules of a model; an ordinary model has the default ones."""
    return RULES_BY_MODEL.get(model._meta.label_lower, DeletionRules())


# --- begin a deletion -----------------------------------------------------------------------------
def create_deletions(rows: QuerySet[Model] | Sequence[Model], requested_by: str) -> list[Deletion]:
    """Mark rows of one model as deleted, and write the deletions; returns them to be carried on.

    `requested_by` is the name of the user who deletes. Nothing is removed yet.
    """
    if isinstance(rows, QuerySet):
        model = rows.model
        ids = list(rows.order_by().values_list("pk", flat=True))
    else:
        model = type(rows[0])
        ids = [row.pk for row in rows]
    rows_per_deletion = DELETION_SLICE_ROWS
    if get_rules(model).is_one_by_one:
        rows_per_deletion = 1
    starts = range(0, len(ids), rows_per_deletion)
    return [
        create_deletion(model, ids[start : start + rows_per_deletion], requested_by)
        for start in starts
    ]


@transaction.atomic
def create_deletion(model: type[Model], ids: list[object], requested_by: str) -> Deletion:
    """Mark the rows with these ids, at least one, as deleted, and write their deletion."""
    first_row = model._base_manager.filter(pk=ids[0]).first()
    object_id = str(ids[0])
    others = ""
    if len(ids) > 1:
        object_id = ""
        others = f" and {len(ids) - 1} more"
    get_rules(model).mark_rows(ids)
    return Deletion.objects.create(
        model=model._meta.label_lower,
        object_id=object_id,
        ids=[str(row_id) for row_id in ids],
        name=f"{get_rules(model).get_name(first_row)[: NAME_LENGTH - len(others)]}{others}",
        requested_by=requested_by,
    )


def send_deletion_task() -> None:
    """Ask a worker to carry on with the deletions; without a broker the next periodic run does."""
    try:
        current_app.send_task(TASK_NAME, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("deletions wait for the next periodic run: %s", type(error).__name__)


# --- carry it on ----------------------------------------------------------------------------------
def continue_deletion(deletion: Deletion, seconds: float) -> bool:
    """Remove slice after slice for about `seconds`; returns whether the deletion is finished.

    Does nothing while another process has the lease.
    """
    row = Deletion.objects.filter_unfinished().filter(pk=deletion.pk)
    if not row.claim_lease("alive_until", LEASE_SECONDS):
        return not row.exists()
    until = time.monotonic() + seconds
    try:
        for removed in iterate_removals(apps.get_model(deletion.model), deletion.ids):
            row.renew_lease("alive_until", LEASE_SECONDS, removed=F("removed") + removed)
            if removed and time.monotonic() >= until:
                return False
        row.update(finished_at=Now())
    finally:
        row.release_lease("alive_until")
    return True


def iterate_removals(model: type[Model], ids: Sequence[object]) -> Iterator[int]:
    """Remove these rows and all that depends on them, by the rules of their model.

    Yields the number of rows of each committed transaction.
    """
    delete_rows = get_rules(model).delete_rows
    if delete_rows is None:
        yield from delete_in_slices(model, ids)
        return
    started_at = time.monotonic()
    for removed in delete_rows(ids):
        time.sleep(min(time.monotonic() - started_at, LONGEST_PAUSE_SECONDS))
        yield removed
        started_at = time.monotonic()


def continue_all_deletions(seconds: float) -> bool:
    """Carry on with all deletions that no process works at, oldest first, for about `seconds`.

    Returns whether all of them are finished. One that fails with an IntegrityError is logged and
    left for a later run.
    """
    until = time.monotonic() + seconds
    for deletion in Deletion.objects.filter_unfinished().filter_unclaimed().order_by("pk"):
        try:
            if not continue_deletion(deletion, max(until - time.monotonic(), 0)):
                return False
        except IntegrityError:
            logger.exception(
                "the deletion of %s %s cannot go on now", deletion.model, deletion.object_id
            )
    return True


def continue_deletions(deletions: Sequence[Deletion], seconds: float) -> None:
    """Carry on with these deletions for about `seconds`."""
    until = time.monotonic() + seconds
    for deletion in deletions:
        if time.monotonic() >= until or not continue_deletion(deletion, until - time.monotonic()):
            return


def name_deleted_kind(deletion: Deletion) -> str:
    """Return the name of the model that it deletes, plural unless it is a single row."""
    try:
        model = apps.get_model(deletion.model)
    except LookupError:  # the app was removed
        return deletion.model
    if deletion.object_id:
        return str(model._meta.verbose_name)
    return str(model._meta.verbose_name_plural)


def delete_in_slices(model: type[Model], ids: Sequence[object]) -> Iterator[int]:
    """Remove the rows that depend on these rows of `model`, then the rows themselves.

    Yields the number of rows of each committed transaction.
    """
    for attempt in range(MOST_TRIES):
        for relation in list_dependent_relations(model):
            yield from remove_dependents(relation, ids)
        try:
            yield write_and_pause(partial(delete_independent_rows, model, ids))
        except IntegrityError:  # somebody has just written a row that depends on them
            if attempt == MOST_TRIES - 1:
                raise
        else:
            return


def list_dependent_relations(model: type[Model]) -> list[ForeignObjectRel]:
    """Return the foreign keys of other tables to `model` that cascade or are set to null."""
    fields = model._meta.get_fields(include_hidden=True)
    return [
        field
        for field in fields
        if isinstance(field, ForeignObjectRel)
        and (field.one_to_many or field.one_to_one)
        and getattr(field, "on_delete", None) in (CASCADE, SET_NULL)
    ]


def remove_dependents(relation: ForeignObjectRel, ids: Sequence[object]) -> Iterator[int]:
    """Remove the rows that cascade, or clear the reference in those that stay.

    Yields the number of rows of each committed transaction.
    """
    child: type[Model] = relation.related_model
    name = relation.field.name
    dependent = child._base_manager.filter(**{f"{name}__in": ids}).order_by()
    while slice_ids := list(dependent.values_list("pk", flat=True)[:DELETION_SLICE_ROWS]):
        if relation.on_delete is CASCADE:
            yield from delete_in_slices(child, slice_ids)
        else:
            rows = child._base_manager.filter(pk__in=slice_ids)
            yield write_and_pause(partial(rows.update, **{name: None}))


def delete_independent_rows(model: type[Model], ids: Sequence[object]) -> int:
    """Delete the rows themselves and return how many.

    No row depends on them any more, so Django need not collect dependent rows.
    """
    rows = model._base_manager.filter(pk__in=ids)
    delete_with_signals = get_rules(model).delete_with_signals
    if delete_with_signals is not None:
        return delete_with_signals(rows)
    return rows._raw_delete(rows.db)


def write_and_pause(write: Callable[[], int]) -> int:
    """Run `write` in a transaction, then sleep as long as it took.

    The pause, LONGEST_PAUSE_SECONDS at most, leaves the database to others. Returns the number of
    rows.
    """
    started_at = time.monotonic()
    with transaction.atomic():
        count = write()
    time.sleep(min(time.monotonic() - started_at, LONGEST_PAUSE_SECONDS))
    return count
