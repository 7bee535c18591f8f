"""Tokens from a text file -> rows, with a verdict for every line.

One token per line; blank lines and lines that begin with `#` are skipped; UTF-8 or UTF-16, with or without BOM, any
line ends. Rows are written in batches, each one transaction; running twice adds nothing. A report never carries a
secret: lines are named by number, tokens by their mask.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from django.db import transaction

from providers import vault
from providers.models import Provider
from tokens.models import UpstreamToken

BATCH = 500
LONGEST = 8_192  # characters of one token
NEW, IN_FILE, KNOWN, MALFORMED = "new", "twice in the file", "known already", "malformed"


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
    report = Report()
    seen: set[str] = set()
    batch: list[tuple[int, str, str]] = []
    done = 0
    for done, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            report.skipped += 1
            continue
        if wrong := problem(token):
            report.verdicts.append(Verdict(done, MALFORMED, vault.mask(token) if token.isprintable() else "", wrong))
            continue
        fingerprint = vault.fingerprint(token)
        if fingerprint in seen:
            report.verdicts.append(Verdict(done, IN_FILE, vault.mask(token)))
            continue
        seen.add(fingerprint)
        batch.append((done, token, fingerprint))
        if len(batch) == BATCH:
            report.verdicts.extend(write(provider, batch, dry_run))
            batch = []
            progress(done)
    report.verdicts.extend(write(provider, batch, dry_run))
    progress(done)
    report.verdicts.sort(key=lambda verdict: verdict.line)
    return report


def write(provider: Provider, batch: list[tuple[int, str, str]], dry_run: bool) -> Iterator[Verdict]:
    """Insert the batch's tokens that the provider does not have; a verdict for each. Two imports at once do not
    collide.
    """
    known = set(
        UpstreamToken.objects.filter(provider=provider, fingerprint__in=[item[2] for item in batch]).values_list(
            "fingerprint", flat=True
        )
    )
    if not dry_run:
        rows = [UpstreamToken.of(provider, token) for _, token, fingerprint in batch if fingerprint not in known]
        with transaction.atomic():
            UpstreamToken.objects.bulk_create(rows, ignore_conflicts=True)
    for line, token, fingerprint in batch:
        yield Verdict(line, KNOWN if fingerprint in known else NEW, vault.mask(token))
