"""PROXYSITE_HOME: the one directory that a run writes to, and the secrets that live in it.

Shape: `Home.path(*parts)` -> Path below the directory; `Home.secrets()` -> {name: value}, made once at random and
kept in `secrets.env` (mode 0600). A secret given by the environment wins and is never written down.
"""

import os
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


def fresh_field_key() -> str:
    """A random key for the vault; its id is made of it, so that two keys never bear one name."""
    key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return f"k{sha256(key.encode()).hexdigest()[:12]}:{key}"


def fresh_secrets() -> dict[str, str]:
    """Random values for every secret a home needs: Django's key, the vault's first key, the pepper of digests."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": fresh_field_key(),
        "KEY_PEPPER": secrets.token_urlsafe(32),
    }


@dataclass(frozen=True, slots=True)
class Home:
    """The directory; made on first use, readable by its owner alone."""

    root: Path

    def path(self, *parts: str) -> Path:
        """A path in the home whose parent directory exists."""
        path = self.root.joinpath(*parts)
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for directory in reversed([parent for parent in path.parents if parent.is_relative_to(self.root)]):
            directory.mkdir(exist_ok=True, mode=0o700)
        return path

    def secrets(self) -> dict[str, str]:
        """The kept secrets; the first caller of a new home makes them, even when several start at once."""
        file = self.path("secrets.env")
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = self._keep(file, "".join(f"{name}={value}\n" for name, value in fresh_secrets().items()))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    @staticmethod
    def _keep(file: Path, text: str) -> str:
        """Write `text` whole or, when another process was first, return what that one wrote."""
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        try:
            os.link(draft, file)
        except FileExistsError:
            return file.read_text(encoding="utf-8")
        finally:
            draft.unlink()
        return text
