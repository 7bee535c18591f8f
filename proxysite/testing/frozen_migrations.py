"""The migrations that have been released, with their digests: they must never change again.

An installation that has applied a migration never applies its later text, and then lacks whatever
that text adds. `python -m proxysite.testing.frozen_migrations` adds new migrations to the list when
they are released.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "proxysite" / "tests" / "upgrades" / "frozen_migrations.txt"
APPS = ("providers", "tokens", "conversations", "api", "proxysite")


def list_migrations() -> dict[str, str]:
    """Return the digest of each migration of this checkout by its path."""
    paths = [path for app in APPS for path in ROOT.joinpath(app, "migrations").glob("0*.py")]
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def read_list() -> dict[str, str]:
    """Return the digest of each released migration by its path."""
    lines = LIST.read_text(encoding="ascii").splitlines() if LIST.exists() else []
    return {path: digest for digest, path in (line.split() for line in lines)}


def add_new_migrations() -> list[str]:
    """Write the migrations that are not in the list yet to it, and return their paths."""
    frozen = read_list()
    new = {path: digest for path, digest in list_migrations().items() if path not in frozen}
    lines = [f"{digest}  {path}" for path, digest in sorted((frozen | new).items())]
    LIST.write_text("\n".join(lines) + "\n", encoding="ascii")
    return sorted(new)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{path}\n" for path in add_new_migrations()))
