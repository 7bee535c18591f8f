"""The secrets that a restored gateway needs: those of the backup, or those that it is given."""

import json
from collections.abc import Mapping

from django.conf import settings

from providers.durable_files import write_durable_file
from proxysite.backup.backup_errors import BackupError, DamagedBackup
from proxysite.home import Home
from tokens import secret_check

NAMES = ("SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER")
NEEDED_NAMES = ("FIELD_KEYS", "KEY_PEPPER")  # another SECRET_KEY only ends sessions
Secrets = dict[str, str]


def parse_secrets(data: bytes) -> Secrets:
    """Return the secrets of a backup. Raises DamagedBackup."""
    try:
        secrets = json.loads(data)
        return {name: str(secrets[name]) for name in NAMES}
    except (ValueError, KeyError, TypeError):
        raise DamagedBackup("The secrets of the backup cannot be read.") from None


def read_given_secrets(home: Home) -> Secrets:
    """Return the secrets that the environment sets, completed by those of the home."""
    stored = home.read_secrets()
    given = {name: str(settings.DECLARED[name].value) or stored.get(name, "") for name in NAMES}
    return {name: value for name, value in given.items() if value}


def choose_secrets(backup_secrets: Secrets | None, given: Mapping[str, str]) -> Secrets:
    """Return the secrets that are in force after the restore. Raises BackupError.

    Secrets that are given win, if they open what the backup has.
    """
    if backup_secrets is None:
        missing = [name for name in NEEDED_NAMES if name not in given]
        if missing:
            raise BackupError(
                f"The backup is not encrypted, so it has no secrets: set {' and '.join(missing)} "
                "as they were there, or put secrets.env into PROXYSITE_HOME."
            )
        return dict(given)
    for name in NEEDED_NAMES:
        if name in given and not is_fitting(name, given[name], backup_secrets[name]):
            raise BackupError(
                f"The {name} that is set here is not that of the backup: leave it unset (also in "
                "secrets.env), then the backup's is put in its place, or set the backup's."
            )
    return backup_secrets | dict(given)


def is_fitting(name: str, given: str, backed_up: str) -> bool:
    """Return whether a given secret opens everything that the backup's secret opens."""
    if name == "FIELD_KEYS":
        return split_keys(backed_up) <= split_keys(given)
    return given == backed_up


def split_keys(text: str) -> set[str]:
    """Return the keys in a list with commas."""
    return {key.strip() for key in text.split(",")}


def use_secrets(secrets: Mapping[str, str]) -> None:
    """Let this process open the secrets of the backup. Changes Django's settings here."""
    settings.FIELD_KEYS = secrets["FIELD_KEYS"].split(",")
    settings.KEY_PEPPER = secrets["KEY_PEPPER"]


def require_fitting_secrets(check_values: dict[str, str]) -> None:
    """Raise BackupError unless the secrets in use are those of the backup's check values."""
    if wrong := sorted(secret_check.list_wrong_names(check_values)):
        raise BackupError(
            f"The backup was written with another {' and '.join(wrong)} than is set here: set "
            "those of the gateway that it is of."
        )


def write_secrets(home: Home, secrets: Mapping[str, str]) -> bool:
    """Write secrets.env unless it exists, or the environment has all; return whether it did."""
    file = home.make_path("secrets.env")
    if file.exists() or all(settings.DECLARED[name].value for name in NAMES):
        return False
    lines = "".join(f"{name}={secrets[name]}\n" for name in NAMES if name in secrets)
    write_durable_file(file, [lines.encode()])
    return True
