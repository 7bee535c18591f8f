"""The errors of backups, each with one line for the person who gave the command."""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the text says why."""


class DamagedBackup(BackupError):
    """The file is not a whole backup."""
