"""PROXYSITE_HOME: the one directory that a run writes to, and the secrets that live in it.

`Home.make_path(*parts)` returns a path below the directory. `Home.load_or_make_secrets()`
returns {name: value}; the values are made once at random and kept in `secrets.env` (mode 0600). A
secret given by the environment wins and is never written down. Only `serve` makes a home; every
other process uses one that exists (`Home.read_secrets`).
"""

import secrets
import stat
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from providers.durable_files import write_durable_file


def generate_field_key() -> str:
    """Return a random key for the vault, as "id:key".

    The id is derived from the key, so that two keys never have the same id.
    """
    key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return f"k{sha256(key.encode()).hexdigest()[:12]}:{key}"


def generate_secrets() -> dict[str, str]:
    """Return random values for every secret of a home.

    These are Django's key, the first key of the vault, and the pepper of the digests.
    """
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": generate_field_key(),
        "KEY_PEPPER": secrets.token_urlsafe(32),
    }


OTHERS_MODE_BITS = 0o077  # the rights of group and others
STARTUP_FOLDERS = ("static", "uploads")  # Django needs them when it starts
# nobody else may read them, whatever the directory's mode
PRIVATE_FILES = ("secrets.env", "*.sqlite3*")


@dataclass(frozen=True, slots=True)
class Home:
    """The home directory; made on first use, readable by its owner alone."""

    root: Path

    def make_path(self, *parts: str) -> Path:
        """Return a path in the home, and make its parent directories where they are missing."""
        path = self.root.joinpath(*parts)
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for directory in reversed(
            [parent for parent in path.parents if parent.is_relative_to(self.root)]
        ):
            directory.mkdir(exist_ok=True, mode=0o700)
        return path

    def load_or_make_secrets(self) -> dict[str, str]:
        """Return the kept secrets; the first caller on a new home writes them.

        Several processes may start at once: they all get the same secrets.
        """
        file = self.make_path("secrets.env")
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = self._write_unless_exists(
                file, "".join(f"{name}={value}\n" for name, value in generate_secrets().items())
            )
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def read_secrets(self) -> dict[str, str]:
        """Return the kept secrets, {} when there are none. Writes nothing.

        Raises OSError when the file exists and cannot be read.
        """
        try:
            text = (self.root / "secrets.env").read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def make_folders(self) -> None:
        """Make the directories that must exist before a request comes."""
        for name in STARTUP_FOLDERS:
            self.make_path(name, "x")

    def tighten_modes(self) -> list[str]:
        """Take other users' rights to the home and its secrets away, and return lines about it.

        A line says which mode was changed or could not be. No mode is loosened. Directories and
        files with secrets or data lose every right of group and others.
        """
        if not self.root.is_dir():
            return []
        folders = [path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink()]
        files = [
            path for pattern in PRIVATE_FILES for path in self.root.glob(pattern) if path.is_file()
        ]
        lines = [tighten_mode(path) for path in (self.root, *folders, *files)]
        return [line for line in lines if line]

    @staticmethod
    def _write_unless_exists(file: Path, text: str) -> str:
        """Write `text` to the file or, when another process was first, return its text."""
        try:
            write_durable_file(file, [text.encode()], overwrite=False)
        except FileExistsError:
            return file.read_text(encoding="utf-8")
        return text


def tighten_mode(path: Path) -> str | None:
    """Take all rights of group and others from a file or directory.

    Returns a line that says so, or None when there were no such rights.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & OTHERS_MODE_BITS:
            return None
        path.chmod(mode & ~OTHERS_MODE_BITS)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"others may read {path}, and its mode cannot be changed: {error.strerror}"
    tightened = mode & ~OTHERS_MODE_BITS
    return f"others could read {path}: its mode was {mode:04o} and is {tightened:04o} now"
