"""The ready-made roles: groups of Django with the rights that a job needs.

Rights are written `app.model: actions`. `update_roles` runs after each `migrate` and may run at any
time; it never undoes a change that an operator made.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from proxysite.people.role import Role

VIEW = ("view",)
EDIT = ("view", "add", "change")
ALL = ("view", "add", "change", "delete")
READ_CONTENT = "conversations.read_content"  # the one right that is named in full
Rights = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class RoleDefinition:
    """A role: its name, its purpose in plain words, and its rights by model."""

    name: str
    purpose: "Promise | str"
    may: tuple["Promise | str", ...]
    may_not: "Promise | str"
    rights: Rights


VIEWED: Rights = {
    "auth.user": VIEW,
    "auth.group": VIEW,
    "providers.provider": VIEW,
    "providers.chatmodel": VIEW,
    "providers.modelalias": VIEW,
    "providers.virtualmodel": VIEW,
    "providers.mcpserver": VIEW,
    "providers.deletion": VIEW,
    "providers.taskprogress": VIEW,
    "tokens.upstreamtoken": VIEW,
    "tokens.upstreamaccount": VIEW,
    "tokens.transition": VIEW,
    "tokens.importbatch": VIEW,
    "api.apikey": VIEW,
    "api.limitset": VIEW,
    "api.team": VIEW,
    "api.teammember": VIEW,
    "api.price": VIEW,
    "api.batch": VIEW,
    "api.usagerecord": VIEW,
    "api.alertevent": VIEW,
    "api.alertdelivery": VIEW,
}
OPERATED: Rights = VIEWED | {
    "auth.user": EDIT,
    "providers.provider": ALL,
    "providers.chatmodel": ALL,
    "providers.modelalias": ALL,
    "providers.virtualmodel": ALL,
    "providers.mcpserver": ALL,
    "tokens.upstreamtoken": ALL,
    "tokens.upstreamaccount": ALL,
    "tokens.importbatch": ALL,
    "providers.taskprogress": ("view", "change"),
    "api.apikey": EDIT,
    "api.limitset": ALL,
    "api.team": ALL,
    "api.teammember": ALL,
    "api.alertdelivery": EDIT,
    "api.batch": ("view", "change"),
    "api.invitation": ALL,
    "proxysite.loginsession": VIEW,
    "axes.accessattempt": VIEW,
}
BILLED: Rights = VIEWED | {
    "api.price": ALL,
    "api.limitset": ALL,
    "api.team": ALL,
    "api.teammember": ALL,
}
ADMINISTERED: Rights = OPERATED | {
    "tokens.upstreamtoken": (*ALL, "export"),
    "auth.user": ALL,
    "api.apikey": ALL,
    "api.price": ALL,
    "api.usagerecord": ("view", "delete"),
    "conversations.conversation": (*ALL, READ_CONTENT),
    "conversations.turn": VIEW,
    "conversations.item": VIEW,
    "conversations.document": ALL,
    "conversations.passage": VIEW,
    "conversations.storedfile": ALL,
    "conversations.upstreamchatdeletion": VIEW,
    "proxysite.auditentry": VIEW,
    "proxysite.loginsession": ("view", "delete"),
    "axes.accessattempt": ("view", "delete"),
    "axes.accesslog": VIEW,
    "axes.accessfailurelog": VIEW,
    "django_celery_beat.periodictask": ("view", "change"),
}

ROLES = (
    RoleDefinition(
        "Viewer",
        _("Looks at everything that runs, and changes nothing."),
        (_("See providers, models, tokens (masked), keys, users, limits, prices and requests."),),
        _("Read conversations, documents or files; see the audit log; change anything."),
        VIEWED,
    ),
    RoleDefinition(
        "Operator",
        _("Keeps the gateway running."),
        (
            _("Everything that a Viewer may."),
            _("Add and change providers, models and tokens; import, check and reset tokens."),
            _("Issue, rotate and revoke API keys; add users and teams; set limits."),
        ),
        _("Set prices, read conversations, see the audit log, delete users or give roles."),
        OPERATED,
    ),
    RoleDefinition(
        "Billing",
        _("Looks after money."),
        (
            _("Everything that a Viewer may."),
            _("Set prices, budgets and other limits; put users into teams."),
        ),
        _("Touch providers, tokens or keys; read conversations."),
        BILLED,
    ),
    RoleDefinition(
        "Administrator",
        _("Does everything but give rights."),
        (
            _("Everything that an Operator and Billing may."),
            _(
                "Read and delete conversations, documents and files; delete users and all their "
                "content."
            ),
            _("Export the secrets of tokens, after the password once more."),
            _("See the audit log, end sessions, lift lock-outs."),
        ),
        _("Give roles or rights to anybody: only superusers do."),
        ADMINISTERED,
    ),
)


def list_permission_names(rights: Rights) -> set[str]:
    """Return rights as Django names them, for example `api.view_apikey`."""
    names: set[str] = set()
    for model, actions in rights.items():
        app, _dot, name = model.partition(".")
        names.update(action if "." in action else f"{app}.{action}_{name}" for action in actions)
    return names


def find_permissions(names: Iterable[str], using: str) -> dict[str, Permission]:
    """Return the existing permissions of these names."""
    wanted = set(names)
    codenames = {name.partition(".")[2] for name in wanted}
    permissions = Permission.objects.using(using).select_related("content_type")
    rows = permissions.filter(codename__in=codenames)
    by_name = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    return {name: row for name, row in by_name.items() if name in wanted}


def update_roles(using: str = DEFAULT_DB_ALIAS) -> None:
    """Write the groups of the roles: those that are new here, and rights that a version added.

    `using` is the database, which may be the target of a copy.
    """
    with transaction.atomic(using=using):
        for definition in ROLES:
            update_role(definition, using)


def update_role(definition: RoleDefinition, using: str) -> None:
    """Write one role; a group that somebody deleted or renamed stays so."""
    role = Role.objects.using(using).filter(name=definition.name).first()
    if role is None:
        group, _is_new = Group.objects.using(using).get_or_create(name=definition.name)
        role = Role.objects.using(using).create(name=definition.name, group=group)
    if role.group is None:
        return
    permissions = find_permissions(list_permission_names(definition.rights), using)
    new_names = sorted(set(permissions) - set(role.granted))
    if new_names:
        role.group.permissions.add(*(permissions[name] for name in new_names))
        role.granted = sorted({*role.granted, *new_names})
        role.save(update_fields=["granted"], using=using)


def update_roles_after_migration(
    sender: object, using: str, plan: object = (), **kwargs: object
) -> None:
    """Update the roles, as a receiver of Django's signal; not while tables are taken away."""
    if any(is_backwards for _migration, is_backwards in plan or ()):  # type: ignore[attr-defined]
        return
    update_roles(using)
