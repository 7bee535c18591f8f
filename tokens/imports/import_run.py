"""Judge and write the credentials of an import, some hundred in each transaction.

A second run adds nothing, and of two imports at once one adds a token. Rows are built and sealed
before the transaction, so that nobody waits long for the database.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.utils.translation import gettext_noop

from providers import registry, vault
from providers.database.row_insert import insert_similar_rows
from providers.models import Provider
from providers.upstream.base_adapter import BaseAdapter
from tokens.imports import account_import, credential_kinds
from tokens.imports.batch_model import ImportBatch
from tokens.imports.credential_rules import find_problem
from tokens.imports.formats.source_lines import FoundCredential, Login, Origin, SourceLine
from tokens.imports.formats.upstream_addresses import is_other_upstream, render_address
from tokens.imports.verdicts import KNOWN, MALFORMED, NEW, OTHER_PROVIDER, TWICE_IN_FILE, Verdict
from tokens.models import Kind, UpstreamToken

BATCH_SIZE = 500
VARYING_FIELDS = (
    *("id", "kind", "label", "sealed", "sealed_refresh", "fingerprint", "masked"),
    *("expires_at", "created_at"),
)
MOST_WAITING_LINES = 2_000  # lines whose verdicts are not returned yet
NO_SIGN_IN = gettext_noop("is an account, and this upstream takes tokens only")


class WaitingCredential(NamedTuple):
    """A credential that waits to be written, with the number of its line and its fingerprint."""

    line: int
    found: FoundCredential
    fingerprint: str
    mask: str


class ImportRun:
    """One run: the fingerprints it has seen, and the lines whose verdicts are still open."""

    def __init__(
        self, provider: Provider, *, dry_run: bool = False, batch: ImportBatch | None = None
    ) -> None:
        self._provider = provider
        self._dry_run = dry_run
        self._batch = batch
        self._adapter_class = BaseAdapter
        if provider.kind in registry.list_adapter_kinds():
            self._adapter_class = registry.get_adapter_class(provider.kind)
        self._seen_fingerprints: set[bytes] = set()
        self._waiting: list[Verdict | WaitingCredential] = []
        self._credential_count = 0
        self.skipped_lines = 0  # blank lines, comments, and what has no credential

    def import_all(self, lines: Iterable[SourceLine]) -> Iterator[tuple[list[Verdict], int]]:
        """Import lines; yield, after each transaction, verdicts and the number of the last line."""
        number = 0
        for line in lines:
            number = line.number
            self._add_line(line)
            if self._is_full():
                yield self._write_waiting(), number
        yield self._write_waiting(), number

    def _is_full(self) -> bool:
        """Return whether the credentials that wait are enough for a transaction."""
        return self._credential_count >= BATCH_SIZE or len(self._waiting) >= MOST_WAITING_LINES

    def _add_line(self, line: SourceLine) -> None:
        """Take a line; `_write_waiting` returns its verdicts."""
        if line.problem:
            self._waiting.append(Verdict(line.number, MALFORMED, reason=line.problem))
        elif not line.credentials:
            self.skipped_lines += 1
        for found in line.credentials:
            judged = self._judge_alone(line.number, found)
            self._waiting.append(judged)
            self._credential_count += isinstance(judged, WaitingCredential)

    def _judge_alone(self, line: int, found: FoundCredential) -> Verdict | WaitingCredential:
        """Return the verdict of a credential that needs no look into the database, or let it wait.

        Remembers its fingerprint.
        """
        if problem := find_problem(found.credential):
            return Verdict(line, MALFORMED, reason=problem)
        fingerprint, mask = identify(found.credential)
        if isinstance(found.credential, Login) and not self._adapter_class.can_sign_in:
            return Verdict(line, MALFORMED, mask, NO_SIGN_IN)
        if is_other_upstream(found.origin.base_url, self._provider.base_url):
            return Verdict(line, OTHER_PROVIDER, mask, render_address(found.origin.base_url))
        short_fingerprint = bytes.fromhex(fingerprint)[:16]
        if short_fingerprint in self._seen_fingerprints:
            return Verdict(line, TWICE_IN_FILE, mask)
        self._seen_fingerprints.add(short_fingerprint)
        return WaitingCredential(line, found, fingerprint, mask)

    def _write_waiting(self) -> list[Verdict]:
        """Insert new credentials, and return the verdicts of all lines taken since the last call.

        A token that another import inserts at the same time counts as known.
        """
        waiting = self._waiting
        self._waiting = []
        self._credential_count = 0
        open_ones = [one for one in waiting if isinstance(one, WaitingCredential)]
        new = self._write_tokens(open_ones)
        accounts = self._write_accounts(open_ones)
        verdicts = []
        for one in waiting:
            if isinstance(one, Verdict):
                verdicts.append(one)
                continue
            default = NEW if one.fingerprint in new else KNOWN
            verdicts.append(Verdict(one.line, accounts.get(one.fingerprint, default), one.mask))
        return verdicts

    def _write_accounts(self, waiting: list[WaitingCredential]) -> dict[str, str]:
        """Import the accounts and return their verdicts by fingerprint."""
        accounts = [one for one in waiting if isinstance(one.found.credential, Login)]
        if not accounts:
            return {}
        verdicts = account_import.import_accounts(
            self._provider, [one.found for one in accounts], self._batch, self._dry_run
        )
        return {account_import.fingerprint_email(email): one for email, one in verdicts.items()}

    def _write_tokens(self, waiting: list[WaitingCredential]) -> set[str]:
        """Insert the tokens that the provider lacks, and return the fingerprints of the new ones.

        A token that this very batch made, before it was interrupted, is new.
        """
        tokens = [one for one in waiting if not isinstance(one.found.credential, Login)]
        if not tokens:
            return set()
        known = dict(
            UpstreamToken.objects.filter(
                provider=self._provider, fingerprint__in=[one.fingerprint for one in tokens]
            ).values_list("fingerprint", "import_batch_id")
        )
        new = {one.fingerprint for one in tokens if one.fingerprint not in known}
        if new and not self._dry_run:
            new = self._insert([one for one in tokens if one.fingerprint in new])
        if self._batch is not None:
            new |= {mark for mark, batch_id in known.items() if batch_id == self._batch.pk}
        return new

    def _insert(self, tokens: list[WaitingCredential]) -> set[str]:
        """Insert tokens in one transaction; return the fingerprints of those inserted here."""
        rows = [self._build_row(str(one.found.credential), one.found.origin) for one in tokens]
        inserted = insert_similar_rows(rows, VARYING_FIELDS)
        return {row.fingerprint for row in rows if row.pk in inserted}

    def _build_row(self, token: str, origin: Origin) -> UpstreamToken:
        """Return an unsaved row for the token.

        A refresh token has no access token yet; its fingerprint stays, so that importing it again
        adds nothing.
        """
        kind, expires_at = credential_kinds.recognize_credential(token, self._adapter_class)
        if kind != Kind.REFRESH:
            expires_at = expires_at or origin.expires_at
        row = UpstreamToken.from_secret(self._provider, token, kind=kind, expires_at=expires_at)
        row.label = origin.label
        row.import_batch = self._batch
        if kind == Kind.REFRESH:
            row.turn_into_refresh_token()
        return row


def identify(credential: Login | str) -> tuple[str, str]:
    """Return the fingerprint and the mask of a credential."""
    if isinstance(credential, Login):
        email = credential.email
        return account_import.fingerprint_email(email), account_import.mask_email(email)
    return vault.fingerprint_secret(credential), vault.mask_secret(credential)
