"""Write the audit log.

Rows of AUDITED_MODELS that a person or a command saves or deletes are recorded by Django's signals,
whatever page, endpoint or command does it. Deeds on many rows at once announce themselves by
`record_in_history`; their rows are read again after the deed. Logins and commands are entries, too.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save
from django.http import HttpRequest

from providers.admin.history_signal import rows_recorded
from proxysite.audit.actor import Actor, UnfinishedEntry, current_actor, find_actor
from proxysite.audit.audit_entry import (
    AUDITED_MODELS,
    LONGEST_MESSAGE,
    LONGEST_NAME,
    AuditAction,
    AuditEntry,
)
from proxysite.audit.field_values import (
    list_changes,
    list_first_values,
    list_last_values,
    read_values,
)

BEFORE_ATTRIBUTE = "_audited_values"  # on a row: its values before it is saved
ACTIONS = {ADDITION: AuditAction.ADDED, CHANGE: AuditAction.DONE, DELETION: AuditAction.DELETED}


def is_audited(model: type[Model]) -> bool:
    return model._meta.label_lower in AUDITED_MODELS


def build_entry(
    actor: Actor, action: AuditAction, row: Model | None = None, **fields: Any
) -> AuditEntry:
    """Return an entry about a row, not written yet; `fields` are further columns."""
    user = actor.user
    name = fields.pop("object_name", "" if row is None else str(row))
    message = fields.pop("message", actor.command)
    return AuditEntry(
        actor_id=None if user is None else user.pk,
        actor_name=actor.name[:LONGEST_NAME],
        address=actor.address,
        action=action,
        model="" if row is None else row._meta.label_lower,
        object_id="" if row is None or row.pk is None else str(row.pk),
        object_name=name[:LONGEST_NAME],
        message=message[:LONGEST_MESSAGE],
        **fields,
    )


def record_deed(action: AuditAction, row: Model | None = None, **fields: Any) -> None:
    """Write an entry about a deed of whoever acts now; nothing when nobody known does.

    `fields` may be `message`, `changes` and `object_name`.
    """
    actor = find_actor()
    if actor is not None:
        build_entry(actor, action, row, **fields).save()


# --- rows that are saved or deleted ---------------------------------------------------------------
def remember_values(sender: type[Model], instance: Model, raw: bool = False, **kwargs: Any) -> None:
    """Read the values that a row has before it is saved."""
    if raw or not is_audited(sender) or find_actor() is None:
        return
    stored = None
    if instance.pk is not None and not instance._state.adding:
        stored = sender._base_manager.filter(pk=instance.pk).first()
    setattr(instance, BEFORE_ATTRIBUTE, None if stored is None else read_values(stored))


def record_saved_row(
    sender: type[Model], instance: Model, created: bool, update_fields: Any = None, **kwargs: Any
) -> None:
    """Record a row that was added or changed; a row that stays as it is makes no entry."""
    actor = find_actor()
    if actor is None or not is_audited(sender) or not hasattr(instance, BEFORE_ATTRIBUTE):
        return
    before = instance.__dict__.pop(BEFORE_ATTRIBUTE)
    if created or before is None:
        build_entry(actor, AuditAction.ADDED, instance, changes=list_first_values(instance)).save()
        return
    after = read_values(instance)
    if update_fields is not None:
        after = {name: value for name, value in after.items() if name in update_fields}
    changes = list_changes(sender, {name: before.get(name) for name in after}, after)
    if changes:
        build_entry(actor, AuditAction.CHANGED, instance, changes=changes).save()


def record_deleted_row(sender: type[Model], instance: Model, **kwargs: Any) -> None:
    """Record a row that is about to be deleted, once; later its relations are gone."""
    actor = find_actor()
    if actor is None or not is_audited(sender):
        return
    if (sender._meta.label_lower, str(instance.pk)) not in actor.deleted:
        build_entry(actor, AuditAction.DELETED, instance, changes=list_last_values(instance)).save()


def record_related_rows(
    sender: Any, instance: Model, action: str, model: type[Model], **kwargs: Any
) -> None:
    """Record a change of the groups or permissions of a user or group."""
    actor = find_actor()
    if actor is None or not is_audited(type(instance)):
        return
    fields = instance._meta.many_to_many
    name = next((field.name for field in fields if field.remote_field.through is sender), "")
    if not name:  # the change was made from the other side
        return
    names = list_related_names(instance, name)
    if action.startswith("pre_"):
        instance.__dict__[f"_audited_{name}"] = names
        return
    before = instance.__dict__.pop(f"_audited_{name}", names)
    if before != names:
        changes = {name: [", ".join(before), ", ".join(names)]}
        build_entry(actor, AuditAction.CHANGED, instance, changes=changes).save()


def list_related_names(row: Model, field_name: str) -> list[str]:
    """Return the names of the rows that a many-to-many field of a row has."""
    return sorted(str(related) for related in getattr(row, field_name).all())


# --- deeds on many rows ---------------------------------------------------------------------------
def record_announced_rows(
    sender: object, request: HttpRequest, rows: Sequence[Model], **announced: Any
) -> None:
    """Write an entry for each of the rows; their changes follow when the deed is done.

    `rows` is empty where there are too many; then `names` has one text for all of them.
    """
    actor = current_actor.get() or Actor(request)
    if not actor.is_known:
        return
    flag: int = announced["flag"]
    names: Sequence[str] = announced["names"]
    action = ACTIONS.get(flag, AuditAction.DONE)
    fields: dict[str, Any] = {"message": announced["change_message"]}
    if not rows:
        build_entry(actor, action, object_name=names[0], **fields).save()
        return
    for row, name in zip(rows, names, strict=True):
        is_deletion = flag == DELETION
        changes = list_last_values(row) if is_deletion and is_audited(type(row)) else {}
        entry = build_entry(actor, action, row, object_name=name, changes=changes, **fields)
        entry.save()
        if is_deletion:
            actor.deleted.add((entry.model, entry.object_id))
        elif is_audited(type(row)):
            actor.unfinished.append(UnfinishedEntry(entry.pk, row, read_values(row)))


def complete_entries(actor: Actor) -> None:
    """Write the changed values into the unfinished entries of an actor."""
    unfinished = actor.unfinished[:]
    actor.unfinished.clear()
    for item in unfinished:
        model = type(item.row)
        row = model._base_manager.filter(pk=item.row.pk).first()
        after = {} if row is None else read_values(row)
        changes = list_changes(model, item.before, after) if after else {}
        if changes:
            AuditEntry.objects.filter(pk=item.entry_id).update(changes=changes)


def record_history_note(
    sender: type[LogEntry], instance: LogEntry, created: bool, **kwargs: Any
) -> None:
    """Record a note of the admin's history that is a plain text.

    Notes in JSON are Django's own about saved rows, which are recorded with their values.
    """
    actor = find_actor()
    message = instance.change_message
    if not created or actor is None or not message or message.startswith("["):
        return
    content_type = instance.content_type
    AuditEntry.objects.create(
        actor_id=None if actor.user is None else actor.user.pk,
        actor_name=actor.name[:LONGEST_NAME],
        address=actor.address,
        action=ACTIONS.get(instance.action_flag, AuditAction.DONE),
        model="" if content_type is None else f"{content_type.app_label}.{content_type.model}",
        object_id=str(instance.object_id or "")[:64],
        object_name=instance.object_repr[:LONGEST_NAME],
        message=message[:LONGEST_MESSAGE],
    )


# --- logins ---------------------------------------------------------------------------------------
def record_login(sender: object, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    write_session_entry(AuditAction.LOGIN, request, user)


def record_logout(sender: object, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None:
        write_session_entry(AuditAction.LOGOUT, request, user)


def write_session_entry(action: AuditAction, request: HttpRequest | None, user: Any) -> None:
    AuditEntry.objects.create(
        actor_id=user.pk,
        actor_name=user.get_username()[:LONGEST_NAME],
        address=Actor(request).address,
        action=action,
    )


def connect_signals() -> None:
    """Connect the receivers; called once, when the apps are ready."""
    for model in filter(is_audited, apps.get_models()):
        # for these models alone: a receiver makes Django delete rows one by one
        pre_save.connect(remember_values, sender=model, dispatch_uid="audit")
        post_save.connect(record_saved_row, sender=model, dispatch_uid="audit")
        pre_delete.connect(record_deleted_row, sender=model, dispatch_uid="audit")
    post_save.connect(record_history_note, sender=LogEntry, dispatch_uid="audit notes")
    for through in list_through_models((User.groups, User.user_permissions, Group.permissions)):
        m2m_changed.connect(record_related_rows, sender=through, dispatch_uid=f"audit {through}")
    rows_recorded.connect(record_announced_rows, dispatch_uid="audit")
    user_logged_in.connect(record_login, dispatch_uid="audit")
    user_logged_out.connect(record_logout, dispatch_uid="audit")


def list_through_models(descriptors: Iterable[Any]) -> list[Any]:
    return [descriptor.through for descriptor in descriptors]
