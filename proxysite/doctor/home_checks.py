"""Check the program, its settings and its home."""

import os
import platform
import shutil
import stat
from collections.abc import Iterator

from django.conf import settings

from proxysite.doctor.findings import OK, PROBLEM, WARNING, Finding

MEBIBYTE = 2**20
OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


def check_program() -> Iterator[Finding]:
    """Yield the release, and the warnings about settings that `serve` prints too."""
    yield Finding("version", OK, f"{settings.VERSION}, Python {platform.python_version()}")
    for warning in settings.SETTING_WARNINGS:
        yield Finding("settings", WARNING, warning, "See docs/settings.md.")


def check_home() -> Iterator[Finding]:
    """Yield whether the home can be written, is private, and has room."""
    root = settings.HOME.root
    if not root.exists():
        yield Finding("home", PROBLEM, f"There is none at {root}.", "Start `serve` once.")
        return
    if not os.access(root, os.W_OK | os.X_OK):
        yield Finding(
            "home", PROBLEM, f"{root} cannot be written.", "Give it to the user that runs `serve`."
        )
        return
    if root.stat().st_mode & OTHERS_MAY:
        yield Finding(
            "home", WARNING, f"{root} is open to other users of this machine.", f"chmod 700 {root}"
        )
    else:
        yield Finding("home", OK, str(root))
    free = shutil.disk_usage(root).free
    text = f"{free // MEBIBYTE:,} MB are free"
    if free < settings.DISK_WARNING_BYTES:
        yield Finding("disk", PROBLEM, f"Only {text}.", "Make room: a full disk stops requests.")
    else:
        yield Finding("disk", OK, text)


def check_kept_rows() -> Iterator[Finding]:
    """Yield usage records that wait in files, or that need a person."""
    for name in ("spool", "journal"):
        folder = settings.HOME.root / name
        files = [path for path in folder.glob("*") if is_for_a_person(path.name)]
        if files:
            names = ", ".join(sorted(path.name for path in files))
            yield Finding(
                name,
                WARNING,
                f"{names} in {folder} could not be written to the database.",
                "See docs/errors.md, unwritten usage records.",
            )


def is_for_a_person(name: str) -> bool:
    """Return whether nothing but a person will ever read this file."""
    return name.endswith(".unreadable") or name == "refused.jsonl"
