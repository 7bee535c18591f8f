"""The command `import_tokens`: import a file (or standard input) of tokens or accounts.

The input has one token or account per line, or is a file of another program. An import can be
undone by the id of its batch.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from getpass import getpass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from providers.models import Provider
from tokens.exports.encrypted_bundle import BundleError, is_bundle
from tokens.imports import batch_work, import_batches, import_text, token_import, undo_import
from tokens.imports.batch_model import ImportBatch
from tokens.secret_check import require_secrets

MAX_LISTED_LINES = 20  # most malformed lines that are listed one by one
PASSPHRASE_VARIABLE = "EXPORT_PASSPHRASE"  # noqa: S105 - the name of a variable
STANDARD_INPUT = "standard input"


class Command(GatewayCommand):
    help = (
        "Import tokens, one per line, or email:password where accounts sign in; # begins a comment."
        " Files of other gateways and of browsers are read, too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="?", help="name of the provider they are for")
        parser.add_argument("file", nargs="?", help="path of the file, or - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="report, write nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument("--undo", metavar="BATCH", help="delete the tokens of this import")
        parser.add_argument(
            "--used", action="store_true", help="with --undo: also tokens that were used already"
        )

    def handle(self, *args: Any, undo: str | None, **options: Any) -> None:
        require_secrets()
        if undo is not None:
            self.undo_import(undo, options)
            return
        if not options["provider"] or not options["file"]:
            raise CommandError("The following arguments are required: provider, file.")
        if options["used"]:
            raise CommandError("--used goes with --undo.")
        provider = find_provider(options["provider"])
        self.import_file(provider, options["file"], options)

    # --- import -----------------------------------------------------------------------------------
    def import_file(self, provider: Provider, file: str, options: dict[str, Any]) -> None:
        """Import the file, and report the result."""
        lines = self.read_lines(file)
        batch = None
        with show_progress("Importing", len(lines)) as report_progress:
            if options["dry_run"]:
                report = token_import.import_lines(
                    provider, lines, dry_run=True, report_progress=report_progress
                )
            else:
                source = STANDARD_INPUT if file == "-" else Path(file).name
                report, batch = import_batches.import_as_batch(
                    provider, lines, source=source, report_progress=report_progress
                )
        if options["format"] == "json":
            self.print_json(report, batch)
            return
        self.print_report(report, options["dry_run"])
        if batch is not None:
            self.stderr.write(f"To undo it: manage.py import_tokens --undo {batch.pk}")

    def read_lines(self, file: str) -> list[str]:
        """Return the lines of the file, or of standard input for `-`. Raises CommandError."""
        try:
            if file == "-":
                data = sys.stdin.buffer.read(settings.IMPORT_BYTES + 1)
            else:
                with Path(file).open("rb") as opened:
                    data = opened.read(settings.IMPORT_BYTES + 1)
            return import_text.read_upload(data, read_passphrase(data))
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
        except token_import.UnreadableFile as error:
            raise CommandError(f"{error} Save it as text with one token a line.") from None
        except (import_text.ImportRefused, BundleError) as error:
            raise CommandError(str(error)) from None

    def print_json(self, report: token_import.ImportReport, batch: ImportBatch | None) -> None:
        content: dict[str, object] = {
            "counts": report.verdict_counts,
            "skipped": report.skipped_lines,
            "lines": [asdict(verdict) for verdict in report.verdicts],
        }
        if batch is not None:
            content["batch"] = str(batch.pk)
        self.stdout.write(json.dumps(content))

    def print_report(self, report: token_import.ImportReport, dry_run: bool) -> None:
        self.print_refused_lines(report)
        counts = report.verdict_counts
        imported = "would be imported" if dry_run else "imported"
        parts = [
            f"{counts[token_import.NEW]} {imported}",
            f"{counts[token_import.KNOWN]} {token_import.KNOWN}",
            f"{counts[token_import.TWICE_IN_FILE]} {token_import.TWICE_IN_FILE}",
            f"{counts[token_import.MALFORMED]} {token_import.MALFORMED}",
        ]
        rare_verdicts = (token_import.OTHER_PROVIDER, token_import.UPDATED)
        parts += [f"{counts[verdict]} {verdict}" for verdict in rare_verdicts if counts[verdict]]
        if report.skipped_lines:
            parts.append(f"{report.skipped_lines} blank or comment")
        self.stdout.write(f"{', '.join(parts)}.")

    def print_refused_lines(self, report: token_import.ImportReport) -> None:
        """Print the lines that are malformed or of another provider, each with its reason."""
        kinds = (token_import.MALFORMED, token_import.OTHER_PROVIDER)
        refused = [verdict for verdict in report.verdicts if verdict.verdict in kinds]
        for verdict in refused[:MAX_LISTED_LINES]:
            token = f" ({verdict.token})" if verdict.token else ""
            reason = verdict.reason
            if verdict.verdict == token_import.OTHER_PROVIDER:
                reason = f"of another provider: {reason}"
            self.stdout.write(f"line {verdict.line}: {reason}{token}")
        if len(refused) > MAX_LISTED_LINES:
            unlisted = len(refused) - MAX_LISTED_LINES
            self.stdout.write(f"… and {unlisted} more malformed lines (--format json lists all)")

    # --- undo -------------------------------------------------------------------------------------
    def undo_import(self, batch_id: str, options: dict[str, Any]) -> None:
        """Delete the tokens of an import; with a dry run, report how many these are."""
        batch = find_batch(batch_id)
        if options["provider"] and options["provider"] != batch.provider.name:
            raise CommandError(f"That import is of {batch.provider}, not {options['provider']}.")
        summary = undo_import.summarize_undo(batch)
        count = summary.unused_count
        if options["used"]:
            count += summary.used_count
        if options["dry_run"]:
            self.print_undo(count, summary.used_count, "would be deleted", options)
            return
        if not undo_import.start_undo(batch, by="", deletes_used=options["used"]):
            raise CommandError(f"That import {batch.get_state_display()}.")
        batch_work.work_at_batch(batch.pk)
        batch.refresh_from_db()
        deleted_count = batch.counts.get("deleted", 0)
        self.print_undo(deleted_count, summary.used_count, "deleted", options)

    def print_undo(
        self, count: int, used_count: int, deleted: str, options: dict[str, Any]
    ) -> None:
        kept = "" if options["used"] else f", {used_count} kept that were used (--used)"
        self.stdout.write(f"{count} tokens {deleted}{kept if used_count else ''}.")


def find_batch(text: str) -> ImportBatch:
    """Return the import with this id. Raises CommandError."""
    try:
        batch = ImportBatch.objects.select_related("provider").filter(pk=UUID(text)).first()
    except ValueError:
        batch = None
    if batch is None:
        raise CommandError(f"There is no import {text!r}.")
    return batch


def read_passphrase(data: bytes) -> str:
    """Return the passphrase for an encrypted export: of the environment, or typed by a person."""
    first_line = data[:1_000].splitlines()[:1]
    if not is_bundle([line.decode("utf-8", "replace") for line in first_line]):
        return ""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not passphrase and sys.stdin.isatty():
        passphrase = getpass("Passphrase: ")
    if not passphrase:
        raise CommandError(f"The file is an encrypted export: set {PASSPHRASE_VARIABLE}.")
    return passphrase


@contextmanager
def show_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how much is done, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
