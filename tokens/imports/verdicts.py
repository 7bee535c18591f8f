"""The verdicts of an import: one for each credential and for each line that is none.

A verdict never carries a secret: a malformed line is named by its number, a token by its mask. The
names are those of the command's JSON; pages translate them.
"""

from collections import Counter
from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

NEW = "new"
KNOWN = "known already"
UPDATED = "with a new password"
TWICE_IN_FILE = "twice in the file"
MALFORMED = "malformed"
OTHER_PROVIDER = "of another provider"
VERDICTS = (NEW, UPDATED, KNOWN, TWICE_IN_FILE, OTHER_PROVIDER, MALFORMED)
VERDICT_LABELS = {
    NEW: _("new"),
    UPDATED: _("new password"),
    KNOWN: _("known already"),
    TWICE_IN_FILE: _("twice in the file"),
    OTHER_PROVIDER: _("of another provider"),
    MALFORMED: _("malformed"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one line.

    `line` counts from 1, `token` is masked. `reason` says why a line is malformed, and at which
    host a token of another provider is used.
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
