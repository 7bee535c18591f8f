"""The command `import_tokens`: import a file (or standard input) of tokens or accounts.

The input has one token or account per line.
"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from providers.models import Provider
from tokens.imports import token_import
from tokens.secret_check import require_secrets

MAX_LISTED_LINES = 20  # most malformed lines that are listed one by one


class Command(GatewayCommand):
    help = (
        "Import tokens, one per line, or email:password where accounts sign in; # begins a comment."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", help="name of the provider they are for")
        parser.add_argument("file", help="path of the file, or - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="report, write nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, provider: str, file: str, dry_run: bool, **options: Any) -> None:
        require_secrets()
        row = find_provider(provider)
        report = self.import_with_progress(row, self.read_lines(file), dry_run)
        if options["format"] == "json":
            self.print_json(report)
        else:
            self.print_report(report, dry_run)

    def read_lines(self, file: str) -> list[str]:
        """Return the lines of the file, or of standard input for `-`. Raises CommandError."""
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            return token_import.decode_text_file(data)
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
        except token_import.UnreadableFile as error:
            raise CommandError(f"{error} Save it as text with one token a line.") from None

    def print_json(self, report: token_import.ImportReport) -> None:
        content = {
            "counts": report.verdict_counts,
            "skipped": report.skipped_lines,
            "lines": [asdict(verdict) for verdict in report.verdicts],
        }
        self.stdout.write(json.dumps(content))

    def import_with_progress(
        self, provider: Provider, lines: list[str], dry_run: bool
    ) -> token_import.ImportReport:
        """Import the lines, with a progress bar if standard error is a terminal."""
        if not sys.stderr.isatty():
            return token_import.import_lines(provider, lines, dry_run=dry_run)
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Importing", total=len(lines))
            return token_import.import_lines(
                provider,
                lines,
                dry_run=dry_run,
                report_progress=lambda done: bar.update(task, completed=done),
            )

    def print_report(self, report: token_import.ImportReport, dry_run: bool) -> None:
        self.print_malformed_lines(report)
        counts = report.verdict_counts
        imported = "would be imported" if dry_run else "imported"
        parts = [
            f"{counts[token_import.NEW]} {imported}",
            f"{counts[token_import.KNOWN]} {token_import.KNOWN}",
            f"{counts[token_import.TWICE_IN_FILE]} {token_import.TWICE_IN_FILE}",
            f"{counts[token_import.MALFORMED]} {token_import.MALFORMED}",
        ]
        if counts[token_import.UPDATED]:
            parts.append(f"{counts[token_import.UPDATED]} {token_import.UPDATED}")
        if report.skipped_lines:
            parts.append(f"{report.skipped_lines} blank or comment")
        self.stdout.write(f"{', '.join(parts)}.")

    def print_malformed_lines(self, report: token_import.ImportReport) -> None:
        malformed = [
            verdict for verdict in report.verdicts if verdict.verdict == token_import.MALFORMED
        ]
        for verdict in malformed[:MAX_LISTED_LINES]:
            account = f" ({verdict.token})" if verdict.token else ""
            self.stdout.write(f"line {verdict.line}: {verdict.reason}{account}")
        if len(malformed) > MAX_LISTED_LINES:
            unlisted = len(malformed) - MAX_LISTED_LINES
            self.stdout.write(f"… and {unlisted} more malformed lines (--format json lists all)")
