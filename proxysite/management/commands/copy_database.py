"""The command `copy_database`: copy the home's SQLite database into a Postgres database."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from providers.management.base import GatewayCommand
from proxysite.configuration import database_settings, locations
from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_values import DATABASE_FORMS, check_database_url
from proxysite.first_run import markers
from proxysite.transfer import copying
from proxysite.transfer.copying import CopyRefused, TablePlan
from proxysite.transfer.source import SourceDatabase
from proxysite.transfer.target import TARGET_ALIAS, TargetDatabase

SLICE_ROWS = 2_000
CONNECT_SECONDS = 10


class Command(GatewayCommand):
    help = (
        "Copy everything from this home's SQLite database into an empty Postgres database, "
        "which is migrated first. "
        "A copy that was interrupted goes on when it is called again."
    )
    writes = False  # it does not write to the database of this home

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="the target: postgres://user:password@host:5432/name")
        parser.add_argument(
            "--dry-run", action="store_true", help="check both databases and count, change nothing"
        )
        parser.add_argument(
            "--slice-rows",
            type=int,
            default=SLICE_ROWS,
            metavar="N",
            help=f"rows in one step (default {SLICE_ROWS})",
        )

    def handle(
        self, *args: object, url: str, dry_run: bool, slice_rows: int, **options: object
    ) -> None:
        if slice_rows < 1:
            raise CommandError("--slice-rows is at least 1.")
        connect_target(url)
        try:
            with open_source() as source:
                self.copy_everything(source, TargetDatabase(), dry_run, slice_rows)
        except CopyRefused as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(
                f"The target cannot be used: {str(error).strip().splitlines()[0]}."
            ) from None
        finally:
            connections[TARGET_ALIAS].close()
            del connections[TARGET_ALIAS]
            del connections.databases[TARGET_ALIAS]

    def copy_everything(
        self, source: SourceDatabase, target: TargetDatabase, dry_run: bool, slice_rows: int
    ) -> None:
        """Copy all rows, and prove that they arrived. Raises CopyRefused, DatabaseError."""
        source_name = markers.describe_database(settings.DATABASES["default"])
        copying.prepare_target(target, source_name, dry_run)
        if dry_run:
            self.show_dry_run(source)
            return
        plans = copying.make_plans(source, target)
        tables = [plan.table for plan in plans]
        if not target.has_notes():
            target.begin_copy(tables, source_name)
        for plan in plans:
            copying.copy_rows(source, target, plan, slice_rows, self.show_progress)
        target.set_sequences(tables)
        self.show_proofs(source, target, plans)
        target.finish_copy(tables)
        target.analyze_tables()
        rows = sum(plan.count for plan in plans)
        self.stdout.write(
            f"{rows} rows of {len(plans)} tables are copied; counts and digests agree."
        )
        self.stdout.write(
            f"The secrets and files stay in {settings.HOME.root}. "
            "Next: DATABASE_URL=… make serve, with this home and the address that you gave here."
        )

    def show_dry_run(self, source: SourceDatabase) -> None:
        from django.apps import apps

        names = sorted(model._meta.db_table for model in apps.get_models(include_auto_created=True))
        counts = {name: source.count_rows(name) for name in names}
        for name, count in counts.items():
            if count:
                self.stdout.write(f"{name:<48} {count:>10}")
        self.stdout.write(
            f"{sum(counts.values())} rows would be copied. Nothing was written: --dry-run."
        )

    def show_progress(self, table: str, done: int, count: int) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{table}: {done} of {count}\x1b[K", ending="")

    def show_proofs(
        self, source: SourceDatabase, target: TargetDatabase, plans: list[TablePlan]
    ) -> None:
        """Compare each table in both databases, and print count and digest of those with rows.

        Raises CopyRefused when a table differs.
        """
        if sys.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        for plan in plans:
            proof = copying.prove_copy(source, target, plan)
            if proof.count:
                self.stdout.write(f"{proof.table:<48} {proof.count:>10}  {proof.digest}")


def connect_target(url: str) -> None:
    """Add the Django connection TARGET_ALIAS to the target.

    Raises CommandError when the URL names no Postgres database, or the source itself.
    """
    env = Environment({})
    try:
        config = locations.parse_database_url(env, check_database_url(url))
    except ValueError:
        raise CommandError(f"The target is not {DATABASE_FORMS}.") from None
    ours = settings.DATABASES["default"]
    if markers.is_same_database(markers.describe_database(config), markers.describe_database(ours)):
        raise CommandError("The target is the source.")
    if env.problems or config["ENGINE"].endswith("sqlite3"):
        raise CommandError("The target is no Postgres: postgres://user:password@host:5432/name.")
    if not settings.EMBEDDED_DATABASE:
        raise CommandError(
            f"The source would be {markers.describe_database(ours)}; only SQLite is copied: "
            "leave DATABASE_URL unset."
        )
    target_settings = database_settings.build_database_settings(
        config, wait_seconds=CONNECT_SECONDS, statement_seconds=0, pool_size=1
    )
    del target_settings["OPTIONS"]["pool"]
    connections.databases[TARGET_ALIAS] = connections.configure_settings(
        {"default": {}, TARGET_ALIAS: target_settings}
    )[TARGET_ALIAS]


@contextmanager
def open_source() -> Iterator[SourceDatabase]:
    """Open the source, locked against gateways and other writers, during the block.

    Raises CommandError when a gateway runs on the home.
    """
    lock = markers.claim_home(settings.HOME.root)
    if lock is None:
        raise CommandError(
            f"A gateway runs on {settings.HOME.root}: end it first, so that nothing changes "
            "meanwhile."
        )
    source = SourceDatabase(Path(settings.DATABASES["default"]["NAME"]))
    try:
        yield source
    finally:
        source.close()
        lock.close()
