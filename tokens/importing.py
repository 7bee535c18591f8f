"""Tokens and accounts from a text file -> rows, with a verdict for every line.

One token per line; for an upstream that accounts sign in to also `email:password` or `email----password`. Blank lines
and lines that begin with `#` are skipped; UTF-8 or UTF-16, with or without BOM, any line ends. Tokens are written in
batches, each one transaction; running twice adds nothing. A report never carries a secret: lines are named by number,
tokens by their mask.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from django.db import transaction

from providers import registry, vault
from providers.base import BaseAdapter
from providers.models import Provider
from tokens import accounts, kinds
from tokens.accounts import KNOWN, NEW, UPDATED
from tokens.models import Kind, UpstreamToken

__all__ = ["IN_FILE", "KNOWN", "MALFORMED", "NEW", "UPDATED", "Report", "UnreadableFile", "Verdict", "decode", "run"]

BATCH = 500
LONGEST = 8_192  # characters of one token
IN_FILE, MALFORMED = "twice in the file", "malformed"


class UnreadableFile(Exception):
    """The bytes are no text with one token per line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one line: `line` counts from 1, `token` is masked, `reason` says what is malformed."""

    line: int
    verdict: str
    token: str = ""
    reason: str = ""


@dataclass(slots=True)
class Report:
    """What an import did. `verdicts` has every line that held something, in order."""

    verdicts: list[Verdict] = field(default_factory=list)
    skipped: int = 0  # blank lines and comments

    @property
    def counts(self) -> Counter[str]:
        return Counter(verdict.verdict for verdict in self.verdicts)


def decode(data: bytes) -> list[str]:
    """The file's lines. Raises UnreadableFile on what is no text."""
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in data[:2]:  # no byte order mark: the zero half of an ASCII character tells
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"The file is not {encoding.removesuffix('-sig').upper()} text (byte {error.start})."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def problem(token: str) -> str:
    """What keeps `token` from being one, or an empty string."""
    if len(token) > LONGEST:
        return f"longer than {LONGEST} characters"
    if not token.isascii() or not token.isprintable():
        return "has characters that no HTTP header can carry"
    if " " in token:
        return "has a space inside"
    return "" if len(token) >= 4 else "too short"


def run(
    provider: Provider,
    lines: Iterable[str],
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Import `lines` for `provider`; `progress` is told how many lines are done."""
    report, work = Report(), Import(provider, dry_run)
    done = 0
    for done, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            report.skipped += 1
            continue
        report.verdicts.extend(work.take(done, token))
        if len(work.batch) == BATCH:
            report.verdicts.extend(work.write())
            progress(done)
    report.verdicts.extend(work.write())
    progress(done)
    report.verdicts.sort(key=lambda verdict: verdict.line)
    return report


class Import:
    """One run: what it has seen, and the tokens that wait to be written together."""

    def __init__(self, provider: Provider, dry_run: bool) -> None:
        self._provider, self._dry_run = provider, dry_run
        known = provider.kind in registry.kinds()
        self._adapter = registry.adapter_class(provider.kind) if known else BaseAdapter
        self._seen: set[str] = set()
        self.batch: list[tuple[int, str, str]] = []  # line, token, fingerprint

    def take(self, line: int, token: str) -> Iterator[Verdict]:
        """The line's verdict, unless it is a token that `write` judges."""
        login = kinds.login(token) if len(token) <= LONGEST else None
        wrong = "" if login else problem(token)
        if wrong:
            yield Verdict(line, MALFORMED, vault.mask(token) if token.isprintable() else "", wrong)
            return
        if login and not self._adapter.signs_in:
            yield Verdict(
                line, MALFORMED, accounts.masked(login.email), "is an account, and this upstream takes tokens only"
            )
            return
        fingerprint = accounts.fingerprint(login.email) if login else vault.fingerprint(token)
        mask = accounts.masked(login.email) if login else vault.mask(token)
        if fingerprint in self._seen:
            yield Verdict(line, IN_FILE, mask)
            return
        self._seen.add(fingerprint)
        if login is None:
            self.batch.append((line, token, fingerprint))
        else:
            yield Verdict(line, accounts.take(self._provider, login, dry_run=self._dry_run), mask)

    def write(self) -> Iterator[Verdict]:
        """Insert the batch's tokens that the provider does not have; a verdict for each. Two imports at once do not
        collide.
        """
        batch, self.batch = self.batch, []
        provider = self._provider
        rows = UpstreamToken.objects.filter(provider=provider, fingerprint__in=[item[2] for item in batch])
        known = set(rows.values_list("fingerprint", flat=True))
        if not self._dry_run:
            new = [self._row(token) for _, token, fingerprint in batch if fingerprint not in known]
            with transaction.atomic():
                UpstreamToken.objects.bulk_create(new, ignore_conflicts=True)
        for line, token, fingerprint in batch:
            yield Verdict(line, KNOWN if fingerprint in known else NEW, vault.mask(token))

    def _row(self, token: str) -> UpstreamToken:
        """A refresh token has no access yet; its fingerprint stays, so that importing it again adds nothing."""
        kind, expires_at = kinds.read(token, self._adapter)
        row = UpstreamToken.of(self._provider, token, kind=kind, expires_at=expires_at)
        if kind == Kind.REFRESH:
            row.sealed, row.sealed_refresh = "", row.sealed
        return row
