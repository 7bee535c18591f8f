"""Make empty tables as a backup's release had them: exactly its migrations, and no later ones."""

from collections.abc import Iterable

from django.apps import apps
from django.core.management import call_command
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from proxysite.backup.backup_errors import BackupError

Migration = tuple[str, str]  # app and name
SIGN_IN_APPS = ("account", "socialaccount", "mfa")
MOST_NAMED = 3


def require_known_migrations(applied: Iterable[Migration], program_version: str) -> None:
    """Raise BackupError unless this release has all migrations of a backup. Asks no database."""
    known = MigrationLoader(None).disk_migrations
    unknown = sorted(set(applied) - set(known))
    labels = {app.label for app in apps.get_app_configs()}
    if missing_apps := sorted({app for app, _ in unknown} - labels):
        hint = "it is of a newer release"
        if set(missing_apps) <= set(SIGN_IN_APPS):
            hint = "set OIDC_ISSUER or TWO_FACTOR as they were there"
        raise BackupError(f"The backup has tables of {', '.join(missing_apps)}: {hint}.")
    if unknown:
        names = ", ".join(f"{app}.{name}" for app, name in unknown[:MOST_NAMED])
        raise BackupError(
            f"The backup is of a newer release ({program_version}), whose migrations are not here: "
            f"{names}{', …' if unknown[MOST_NAMED:] else ''}."
        )


def create_schema(connection: BaseDatabaseWrapper, applied: Iterable[Migration]) -> None:
    """Create tables with exactly these migrations applied; a schema that was begun is completed.

    Where they are all migrations of this release, its triggers are installed too. Otherwise the
    next `serve` does that, after the migrations that are missing. Raises BackupError.
    """
    wanted = set(applied)
    executor = MigrationExecutor(connection)
    if set(executor.loader.graph.nodes) <= wanted:
        call_command("migrate", database=connection.alias, verbosity=0, interactive=False)
    else:
        executor.migrate(find_targets(executor.loader, wanted))
    made = set(MigrationRecorder(connection).applied_migrations())
    if made != wanted:
        names = ", ".join(f"{app}.{name}" for app, name in sorted(made ^ wanted)[:MOST_NAMED])
        raise BackupError(f"This release cannot make the tables of the backup: see {names}.")


def find_targets(loader: MigrationLoader, wanted: set[Migration]) -> list[Migration]:
    """Return the last of the wanted migrations of each app."""
    graph = loader.graph
    return [
        node
        for node in sorted(wanted)
        if node in graph.nodes
        and not any(
            child.key in wanted and child.key[0] == node[0]
            for child in graph.node_map[node].children
        )
    ]
