"""Import tokens and accounts from a text file as rows, with a verdict for every line.

A line holds a token, several, or an account of an upstream with account sign-in; the forms are
those of `line_parsing.py`. Blank lines and lines that begin with `#` are skipped. No line stops the
import: a line that is not a token gets a reason. Tokens are
written in batches, each one transaction. A second run adds nothing, and of two imports at once one
adds a token. A report never carries a secret: malformed lines are named by number, tokens by their
mask.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from unicodedata import category

from django.db import transaction

from providers import registry, vault
from providers.models import Provider
from providers.upstream.base_adapter import BaseAdapter
from tokens.imports import account_import, credential_kinds, line_parsing
from tokens.imports.account_import import KNOWN, NEW, UPDATED
from tokens.imports.line_parsing import Login, MalformedLine
from tokens.imports.text_decoding import UnreadableFile, decode_text_file, split_lines
from tokens.models import Kind, UpstreamToken

__all__ = [
    "KNOWN",
    "MALFORMED",
    "NEW",
    "TWICE_IN_FILE",
    "UPDATED",
    "ImportReport",
    "UnreadableFile",
    "Verdict",
    "decode_text_file",
    "import_lines",
    "split_lines",
]

BATCH_SIZE = 500
MIN_TOKEN_LENGTH = 4  # characters
MAX_TOKEN_LENGTH = 8_192
MAX_EMAIL_LENGTH = 254
MAX_LINE_LENGTH = 65_536
TWICE_IN_FILE = "twice in the file"
MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one line.

    `line` counts from 1, `token` is masked, `reason` says why the line is malformed.
    """

    line: int
    verdict: str
    token: str = ""
    reason: str = ""


@dataclass(slots=True)
class ImportReport:
    """The result of an import; `verdicts` has every line that held something, in order."""

    verdicts: list[Verdict] = field(default_factory=list)
    skipped_lines: int = 0  # blank lines and comments

    @property
    def verdict_counts(self) -> Counter[str]:
        return Counter(verdict.verdict for verdict in self.verdicts)


def find_token_problem(token: str) -> str:
    """Return the reason why `token` cannot be a token, or an empty string.

    The reason never repeats the token's characters.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        return f"longer than {MAX_TOKEN_LENGTH} characters"
    if "\0" in token:
        return "has a NUL byte"
    if " " in token or "\t" in token:
        return "has a space inside"
    if not token.isascii() or not token.isprintable():
        return "has characters that no HTTP header can carry"
    if token[:1] in ("=", "@"):
        return "begins as a formula of a spreadsheet does"
    if "," in token:
        return "has a comma: tokens are imported one by one"
    if token[:1] in ("{", "["):
        return "is JSON"
    if line_parsing.ADDRESS_INSIDE.search(token):
        return "has an e-mail address, but is not email:password"
    if line_parsing.is_heading(token):
        return "is the heading of a column"
    if len(token) < MIN_TOKEN_LENGTH:
        return "too short"
    return ""


def find_login_problem(login: Login) -> str:
    """Return the reason why an account cannot be stored, or an empty string."""
    if len(login.email) > MAX_EMAIL_LENGTH:
        return f"has an address longer than {MAX_EMAIL_LENGTH} characters"
    has_control = any(category(char) in ("Cc", "Cs") for char in login.password)
    if has_control or not login.email.isprintable():
        return "has control characters"
    return ""


def import_lines(
    provider: Provider,
    lines: Iterable[str],
    *,
    dry_run: bool = False,
    report_progress: Callable[[int], None] = lambda done: None,
) -> ImportReport:
    """Import `lines` for `provider`; `report_progress` is called with the number of lines done."""
    report = ImportReport()
    run = ImportRun(provider, dry_run)
    number = 0
    if isinstance(lines, list):
        lines = line_parsing.expand_json(lines)
    for number, line in enumerate(lines, 1):
        try:
            credentials = parse_credentials(line)
        except MalformedLine as fault:
            report.verdicts.append(Verdict(number, MALFORMED, reason=str(fault)))
            continue
        if not credentials:
            report.skipped_lines += 1
        verdicts = (run.import_credential(number, credential) for credential in credentials)
        report.verdicts.extend(verdict for verdict in verdicts if verdict is not None)
        if len(run.batch) >= BATCH_SIZE:
            report.verdicts.extend(run.write_tokens())
            report_progress(number)
    report.verdicts.extend(run.write_tokens())
    report_progress(number)
    report.verdicts.sort(key=lambda verdict: verdict.line)
    return report


def parse_credentials(line: str) -> list[Login | str]:
    """Return the accounts and tokens of a line, with all tokens checked. Raises MalformedLine."""
    if len(line) > MAX_LINE_LENGTH:
        raise MalformedLine(f"longer than {MAX_TOKEN_LENGTH} characters")
    credentials = line_parsing.parse_line(line)
    for credential in credentials:
        problem = ""
        if isinstance(credential, str):
            problem = find_token_problem(credential)
        else:
            problem = find_login_problem(credential)
        if problem:
            raise MalformedLine(problem)
    return credentials


class WaitingToken(NamedTuple):
    """A token that waits to be written, and the number of its line."""

    line: int
    token: str
    fingerprint: str


class ImportRun:
    """One run: the fingerprints it has seen, and the tokens that wait to be written together."""

    def __init__(self, provider: Provider, dry_run: bool) -> None:
        self._provider = provider
        self._dry_run = dry_run
        self._adapter_class = BaseAdapter
        if provider.kind in registry.list_adapter_kinds():
            self._adapter_class = registry.get_adapter_class(provider.kind)
        self._seen_fingerprints: set[str] = set()
        self.batch: list[WaitingToken] = []

    def import_credential(self, line: int, credential: Login | str) -> Verdict | None:
        """Return the verdict of an account, or None for a token, which `write_tokens` judges later.

        A token goes into the batch; an account is written at once.
        """
        if isinstance(credential, Login):
            return self._import_login(line, credential)
        fingerprint = vault.fingerprint_secret(credential)
        if self._was_seen(fingerprint):
            return Verdict(line, TWICE_IN_FILE, vault.mask_secret(credential))
        self.batch.append(WaitingToken(line, credential, fingerprint))
        return None

    def _import_login(self, line: int, login: Login) -> Verdict:
        mask = account_import.mask_email(login.email)
        if not self._adapter_class.can_sign_in:
            return Verdict(
                line, MALFORMED, mask, "is an account, and this upstream takes tokens only"
            )
        if self._was_seen(account_import.fingerprint_email(login.email)):
            return Verdict(line, TWICE_IN_FILE, mask)
        verdict = account_import.import_account(self._provider, login, dry_run=self._dry_run)
        return Verdict(line, verdict, mask)

    def _was_seen(self, fingerprint: str) -> bool:
        """Return whether the file had this fingerprint before, and remember it."""
        was_seen = fingerprint in self._seen_fingerprints
        self._seen_fingerprints.add(fingerprint)
        return was_seen

    def write_tokens(self) -> list[Verdict]:
        """Insert the batch's new tokens in one transaction, and return a verdict for each token.

        A token that another import inserts at the same time counts as known.
        """
        batch = self.batch
        self.batch = []
        if not batch:
            return []
        known = self._insert_new_tokens(batch)
        return [
            Verdict(
                waiting.line,
                KNOWN if waiting.fingerprint in known else NEW,
                vault.mask_secret(waiting.token),
            )
            for waiting in batch
        ]

    @transaction.atomic
    def _insert_new_tokens(self, batch: list[WaitingToken]) -> set[str]:
        """Insert the tokens that the provider lacks, and return the fingerprints of the others."""
        own_tokens = UpstreamToken.objects.filter(provider=self._provider)
        fingerprints = [waiting.fingerprint for waiting in batch]
        known = set(
            own_tokens.filter(fingerprint__in=fingerprints).values_list("fingerprint", flat=True)
        )
        new_rows = [
            self._build_row(waiting.token) for waiting in batch if waiting.fingerprint not in known
        ]
        if not new_rows or self._dry_run:
            return known
        UpstreamToken.objects.bulk_create(new_rows, ignore_conflicts=True)
        ids = [row.pk for row in new_rows]
        inserted = set(own_tokens.filter(pk__in=ids).values_list("fingerprint", flat=True))
        return known | {row.fingerprint for row in new_rows} - inserted

    def _build_row(self, token: str) -> UpstreamToken:
        """Return an unsaved row for the token.

        A refresh token has no access token yet; its fingerprint stays, so that importing it again
        adds nothing.
        """
        kind, expires_at = credential_kinds.recognize_credential(token, self._adapter_class)
        row = UpstreamToken.from_secret(self._provider, token, kind=kind, expires_at=expires_at)
        if kind == Kind.REFRESH:
            row.turn_into_refresh_token()
        return row
