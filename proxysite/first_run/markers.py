"""Notes of a running gateway, by which a command in another terminal finds its home and database.

`serve` holds a lock on `serve.lock` in its home as long as it runs, and writes a `GatewayRecord`
into this file. It also adds the home to a list in the checkout (the setting MARKER_FILE). A record
counts only while its lock is held, so a crash leaves nothing to clean up. No Django in here.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

LOCK_NAME = "serve.lock"
UNFINISHED_RESTORE_NAME = "restore.unfinished"  # exists while a restore is not finished
LOCK_TRIES = 20  # a command that tests the lock holds it for an instant itself
LOCK_PAUSE_SECONDS = 0.05
MOST_HOMES = 32  # homes in the list of a checkout
POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """A gateway that runs.

    `database` is the address that `describe_database` returns. `url` is its DATABASE_URL, "" for
    the home's own SQLite. Neither has a password.
    """

    home: str
    pid: int
    database: str
    url: str
    needs_password: bool  # the database needs a password, which is not written down
    host: str
    port: int


# --- databases ----------------------------------------------------------------------------------
def describe_database(config: dict[str, Any]) -> str:
    """Return the address of Django's database settings, without its password."""
    if config["ENGINE"].endswith("sqlite3"):
        return str(os.path.realpath(config["NAME"]))
    user = f"{config['USER']}@" if config.get("USER") else ""
    host = normalize_host(str(config.get("HOST") or ""))
    return f"postgres://{user}{host}:{config.get('PORT') or POSTGRES_PORT}/{config['NAME']}"


def normalize_host(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def is_same_database(address: str, other: str) -> bool:
    """Return whether two addresses of `describe_database` name the same database.

    The users who sign in there may differ.
    """
    return strip_user(address) == strip_user(other)


def strip_user(address: str) -> str:
    scheme, separator, place = address.partition("://")
    if not separator:  # a file
        return address
    return f"{scheme}{separator}{place.rpartition('@')[2]}"


def strip_password(url: str) -> str:
    """Return a database URL without its password."""
    if url.startswith("sqlite:"):
        return url
    parts = urlsplit(url)
    user, separator, place = parts.netloc.rpartition("@")
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "password"]
    netloc = f"{user.partition(':')[0]}{separator}{place}"
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(options), ""))


# --- the lock of a home -------------------------------------------------------------------------
def claim_home(home: Path) -> TextIO | None:
    """Take the lock of a home and return its open file; None when another process has it.

    Empties the file, which held the record of the last gateway.
    """
    # the lock is held as long as the process lives
    file = open(home / LOCK_NAME, "a+", encoding="utf-8")  # noqa: SIM115
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            file.truncate(0)  # the record of the last gateway
            return file
    file.close()
    return None


def write_record(lock: TextIO, record: GatewayRecord) -> None:
    """Write the record into the lock's file."""
    lock.seek(0)
    lock.truncate()
    lock.write(json.dumps(asdict(record)))
    lock.flush()


def is_locked(home: Path) -> bool:
    """Return whether a gateway runs on this home. Writes nothing."""
    try:
        with (home / LOCK_NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_record(home: Path) -> GatewayRecord | None:
    """Return the record of the gateway that runs on this home; None when none runs."""
    if not is_locked(home):
        return None
    try:
        return GatewayRecord(**json.loads((home / LOCK_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # the gateway is just starting


# --- the list of a checkout ---------------------------------------------------------------------
def find_running_gateways(file: Path | None) -> list[GatewayRecord]:
    """Return the gateways that were started from a checkout and still run. Writes nothing."""
    records = (read_record(Path(home)) for home in read_homes(file))
    return [record for record in records if record is not None]


def read_homes(file: Path | None) -> list[str]:
    """Return the homes in the list of a checkout; none when it has no readable list."""
    if file is None:
        return []
    try:
        homes = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(homes, list):
        return []
    return [home for home in homes if isinstance(home, str)]


def add_home(file: Path | None, home: Path) -> None:
    """Add a home to the list, and drop the homes where nothing runs any more.

    A checkout that cannot be written to has no list: commands then need PROXYSITE_HOME.
    """
    if file is None:
        return
    with suppress(OSError):
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        others = [
            other for other in read_homes(file) if other != str(home) and is_locked(Path(other))
        ]
        write_homes(draft, [*others[-MOST_HOMES:], str(home)])
        draft.replace(file)


def write_homes(file: Path, homes: Iterable[str]) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps(list(homes)), encoding="utf-8")
