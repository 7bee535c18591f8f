"""The passphrase of a backup, read from a file or from standard input."""

import sys
from pathlib import Path

from proxysite.backup.backup_errors import BackupError

MIN_CHARS = 12
STANDARD_INPUT = "-"


def read_passphrase(name: str) -> str:
    """Return the first line of the file; `-` is standard input. Raises BackupError."""
    try:
        text = sys.stdin.read() if name == STANDARD_INPUT else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BackupError(f"The passphrase file {name} cannot be read: {reason}.") from None
    passphrase = (text.splitlines() or [""])[0]
    if len(passphrase) < MIN_CHARS:
        raise BackupError(f"The passphrase needs at least {MIN_CHARS} characters.")
    return passphrase
