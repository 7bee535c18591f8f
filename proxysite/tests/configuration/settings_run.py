"""The settings file, read as a process with other variables would read it."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from proxysite.configuration import env_file

SETTINGS_FILE = settings.BASE_DIR / "proxysite" / "settings.py"


def run_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *argv: str, **variables: str
) -> dict[str, Any]:
    """Return the settings of a process with these variables and no others of ours."""
    for name in settings.DECLARED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(env_file, "read_env_file", lambda file: {})
    for name, value in {
        "PROXYSITE_HOME": str(tmp_path / "home"),
        "MARKER_FILE": "none",
        **variables,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["manage.py", *argv])
    return runpy.run_path(str(SETTINGS_FILE))
