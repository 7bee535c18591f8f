"""The command `rotate_secrets`: seal everything anew with the first key of FIELD_KEYS."""

from argparse import ArgumentParser
from collections import Counter

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from providers.management.command_helpers import write_table
from proxysite.backup.progress_line import ProgressLine
from proxysite.backup.rotation import secret_rotation
from proxysite.backup.rotation.sealed_columns import find_newest_key_id, list_older_key_ids
from tokens import secret_check

SLICE_ROWS = 200


class Command(GatewayCommand):
    help = (
        "Seal every secret in the database anew with the first key of FIELD_KEYS, while gateways "
        "run that know it. An interrupted run goes on when the command is called again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="count the values of each key, change nothing"
        )
        parser.add_argument(
            "--slice-rows",
            type=int,
            default=SLICE_ROWS,
            metavar="N",
            help=f"rows in one transaction (default {SLICE_ROWS})",
        )

    def handle(
        self, *args: object, dry_run: bool, slice_rows: int, verbosity: int, **options: object
    ) -> None:
        if slice_rows < 1:
            raise CommandError("--slice-rows is at least 1.")
        if dry_run:
            secret_check.require_secrets_unchanged()
            self.show_counts()
            self.stdout.write("Nothing was written: --dry-run.")
            return
        secret_check.require_secrets()
        progress = ProgressLine(self.stderr, is_silent=not verbosity)
        report = secret_rotation.rotate_secrets(slice_rows, progress.report)
        progress.clear()
        left = self.show_counts()
        self.stdout.write(f"{report.sealed_count} values were sealed anew.")
        if report.unreadable_count:
            raise CommandError(
                f"{report.unreadable_count} values open with no key of FIELD_KEYS: "
                f"{', '.join(report.unreadable_rows)}"
                f"{', …' if report.unreadable_count > len(report.unreadable_rows) else ''}."
            )
        self.stdout.write(describe_rest(left))

    def show_counts(self) -> int:
        """Print how many values each key has sealed; return how many need an older key."""
        newest = find_newest_key_id()
        lines: list[tuple[str, ...]] = [("COLUMN", "KEY", "VALUES", "")]
        totals: Counter[str] = Counter()
        for name, counts in secret_rotation.count_all_keys().items():
            totals.update(counts)
            for key_id, count in sorted(counts.items()):
                note = "newest" if key_id == newest else "needs the older key"
                lines.append((name, key_id, str(count), note))
        write_table(self.stdout, lines)
        left = totals.total() - totals[newest]
        self.stdout.write(f"{left} of {totals.total()} values need another key than {newest}.")
        return left


def describe_rest(left: int) -> str:
    """Return the next step for the person at the terminal."""
    older = ", ".join(list_older_key_ids())
    if left:
        return (
            "Some were sealed meanwhile by a gateway whose first key is an older one: call again."
        )
    if waiting := secret_rotation.count_waiting_renewals():
        return f"{waiting} renewed tokens wait in renewals/ for the database: call again later."
    if not older:
        return "FIELD_KEYS has this one key only."
    return (
        f"Nothing needs {older} any more: remove it from FIELD_KEYS everywhere, once all gateways "
        f"and workers have been restarted with {find_newest_key_id()} in front. Backups without "
        "encryption that were made before still need it."
    )
