"""Import tokens and accounts from a text file as rows, with a verdict for every line.

A line holds a token, several, or an account of an upstream with account sign-in; a whole file may
also be JSON, YAML, a table or the cookies of a browser (`formats/`). Blank lines and lines that
begin with `#` are skipped. No line stops the import: a line that is not a token gets a reason.
Tokens are written in batches, each one transaction. A report never carries a secret.
"""

from collections.abc import Callable, Iterable

from providers.models import Provider
from tokens.imports.batch_model import ImportBatch
from tokens.imports.credential_rules import (
    MAX_TOKEN_LENGTH,
    find_token_problem,
    parse_credentials,
)
from tokens.imports.formats.format_detection import ParsedFile, parse_file, read_lines
from tokens.imports.import_run import BATCH_SIZE, ImportRun
from tokens.imports.text_decoding import UnreadableFile, decode_text_file, split_lines
from tokens.imports.verdicts import (
    KNOWN,
    MALFORMED,
    NEW,
    OTHER_PROVIDER,
    TWICE_IN_FILE,
    UPDATED,
    ImportReport,
    Verdict,
)

__all__ = [
    "BATCH_SIZE",
    "KNOWN",
    "MALFORMED",
    "MAX_TOKEN_LENGTH",
    "NEW",
    "OTHER_PROVIDER",
    "TWICE_IN_FILE",
    "UPDATED",
    "ImportReport",
    "UnreadableFile",
    "Verdict",
    "decode_text_file",
    "find_token_problem",
    "import_lines",
    "parse_credentials",
    "parse_lines",
    "split_lines",
]


def parse_lines(lines: list[str]) -> ParsedFile:
    """Find the format of a file and return its lines with their credentials."""
    return parse_file(lines, parse_credentials)


def import_lines(
    provider: Provider,
    lines: Iterable[str],
    *,
    dry_run: bool = False,
    batch: ImportBatch | None = None,
    report_progress: Callable[[int], None] = lambda done: None,
) -> ImportReport:
    """Import `lines` for `provider`; `report_progress` is called with the number of lines done.

    A list is a whole file, whose format is found; of anything else each line stands for itself.
    New tokens refer to `batch`.
    """
    source = read_lines(lines, parse_credentials)
    if isinstance(lines, list):
        source = parse_lines(lines).lines
    run = ImportRun(provider, dry_run=dry_run, batch=batch)
    report = ImportReport()
    for verdicts, done in run.import_all(source):
        report.verdicts.extend(verdicts)
        report_progress(done)
    report.skipped_lines = run.skipped_lines
    return report
