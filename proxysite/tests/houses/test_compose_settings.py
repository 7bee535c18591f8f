"""docker/compose.yaml passes every setting on, and mounts files of tokens."""

from typing import Any

import pytest
import yaml
from django.conf import settings

from proxysite.first_run.import_environment import import_credentials
from proxysite.tests import composefile
from proxysite.tests.composefile import ROOT

SECRETS = ("SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER", "POSTGRES_PASSWORD")
# settings that the containers need to be as they are
FIXED = {
    "DATABASE_URL",
    "REDIS_URL",
    "EMBEDDED_WORKER",
    "PROXYSITE_HOME",
    "MARKER_FILE",
    "CREDENTIALS_FOLDER",
}


def read_services() -> dict[str, Any]:
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def environment_of(service: str, env_file: dict[str, str]) -> dict[str, str]:
    """Return the variables of a container, when this is the content of docker/.env."""
    values = {name: f"the-{name}" for name in SECRETS} | env_file
    own = composefile.services(values)[service]["environment"]
    return values | {name: str(value) for name, value in own.items()}


@pytest.mark.parametrize("service", ["web", "worker", "beat"])
def test_every_declared_setting_reaches_each_container(service: str) -> None:
    assert read_services()[service]["env_file"] == [{"path": ".env", "required": False}]
    for name in settings.DECLARED.keys() - FIXED:
        there = environment_of(service, {name: "given"})
        assert there[name].endswith("given"), name
        # a setting without a line there has its default: nothing is set, or nothing but that
        assert environment_of(service, {}).get(name, "") in (
            "",
            "false",
            "localhost,127.0.0.1,",
            f"the-{name}",
        )


def test_only_what_the_containers_need_is_fixed() -> None:
    fixed = {
        name
        for name, value in environment_of("web", {}).items()
        if name in settings.DECLARED and environment_of("web", {name: "given"})[name] == value
    }
    assert fixed == FIXED
    assert read_services()["web"]["environment"]["PROXYSITE_HOME"] == "/data"


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_the_stores_get_no_settings(service: str) -> None:
    assert "env_file" not in read_services()[service]


def test_the_files_of_the_predecessors_are_mounted_for_reading() -> None:
    for service in ("web", "worker", "beat"):
        assert "./credentials:/credentials:ro" in read_services()[service]["volumes"]
    assert environment_of("web", {})["CREDENTIALS_FOLDER"] == "/credentials"
    assert "/docker/credentials/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split("\n")


@pytest.mark.django_db
def test_a_relative_file_is_read_from_the_folder_of_credentials(
    settings: Any, tmp_path: Any
) -> None:
    (tmp_path / "accounts.txt").write_text('{"email": "june@example.cn", "k2_password": "x y"}')
    settings.CREDENTIALS_FOLDER, settings.ACCOUNTS_FILE = str(tmp_path), "accounts.txt"
    assert import_credentials()[-1] == "ACCOUNTS_FILE: 1 imported for k2think-web."
