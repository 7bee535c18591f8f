"""A configuration file on the disk, in an environment without keys."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(content: Any) -> str:
        path = tmp_path / "config"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write
