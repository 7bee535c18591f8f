"""docker/ without a container engine: what the files promise."""

import re

import pytest
from django.conf import settings

from proxysite.tests import composefile
from proxysite.tests.composefile import ROOT

SECRETS = ("SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER", "POSTGRES_PASSWORD")
TOLD = {name: f"the-{name}" for name in SECRETS}
OURS = ("web", "worker", "beat")


def test_compose_has_the_five_services():
    assert composefile.services(TOLD).keys() == {*OURS, "postgres", "redis"}


@pytest.mark.parametrize("name", SECRETS)
def test_compose_refuses_to_start_without_a_secret(name):
    for missing in ({name: ""}, None):
        env = (
            TOLD | missing
            if missing
            else {other: TOLD[other] for other in SECRETS if other != name}
        )
        with pytest.raises(composefile.Unset, match=name):
            composefile.services(env)


def test_no_secret_is_written_down():
    services = composefile.compose()["services"]
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|KEY|PEPPER|TOKEN", variable):
                assert re.match(r"\$\{\w+:\?", value), f"{name}: {variable}"
    password = re.compile(r"://[^/@]*:(?!\$\{POSTGRES_PASSWORD:\?)[^/@]+@")
    assert not password.search((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for word in ("ENV", "ARG"):
        assert not re.search(
            "SECRET|PASSWORD|_KEY|PEPPER|TOKEN", " ".join(composefile.arguments(word))
        )


def test_only_web_is_published_and_only_on_this_machine():
    services = composefile.services(TOLD)
    published = {
        name: service["ports"] for name, service in services.items() if service.get("ports")
    }
    assert published == {"web": ["127.0.0.1:8000:8000"]}
    assert not any("network_mode" in service for service in services.values())
    for name in ("postgres", "redis"):
        assert services[name]["networks"] == ["inside"]
    assert composefile.compose()["networks"]["inside"] == {"internal": "true"}


def test_every_container_is_as_weak_as_can_be():
    for name, service in composefile.services(TOLD).items():
        assert service["read_only"] == "true", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        if name not in OURS:
            assert service["user"] == name
    user = composefile.arguments("USER")[-1]  # of the last stage: what runs
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    instructions = [word for word, _ in composefile.dockerfile()]
    assert instructions.index("USER") < instructions.index("CMD")
    assert "RUN" not in instructions[instructions.index("USER") :]


def test_every_service_says_whether_it_is_healthy():
    services = composefile.services(TOLD)
    assert composefile.health_check()[0] == "python"
    for name in ("worker", "postgres", "redis"):
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    assert services["web"]["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("postgres", "redis")
    }
    for name in ("worker", "beat"):
        assert services[name]["depends_on"] == {"web": {"condition": "service_healthy"}}


def test_what_must_last_is_in_named_volumes():
    services = composefile.services(TOLD)
    volumes = [volume for service in services.values() for volume in service["volumes"]]
    mounted = {volume.split(":")[0] for volume in volumes if not volume.endswith(":ro")}
    assert mounted == composefile.compose()["volumes"].keys()
    homes = {volume for volume in services["web"]["volumes"] if not volume.endswith(":ro")}
    assert {f"home:{path}" for path in composefile.arguments("VOLUME")} == homes


def test_compose_sets_nothing_that_the_settings_do_not_know():
    for name in OURS:
        environment = composefile.services(TOLD)[name]["environment"]
        assert environment.keys() <= settings.DECLARED.keys()


def test_what_a_person_may_set_is_told():
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    variables = {name for _, name, *_ in composefile.VARIABLE.findall(text) if name}
    told = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    assert {name for name in variables if name not in told} == set()


def test_the_image_is_built_from_the_locks():
    images = [given.split()[0] for given in composefile.arguments("FROM")]
    assert all(re.fullmatch(r"[\w/.-]+:\d[\w.-]*", image) for image in images), images
    (install,) = [given for given in composefile.arguments("RUN") if "pip install" in given]
    assert "--require-hashes" in install
    copied = [
        name
        for given in composefile.arguments("COPY")
        if "--from" not in given
        for name in given.split()[:-1]
    ]
    assert [name for name in copied if name != "."] == ["requirements/production.txt"]
    assert not composefile.ignored("requirements/production.txt")


@pytest.mark.parametrize(
    "path",
    [
        *(
            ".env",
            ".env.production",
            "docker/.env",
            "proxysite/.env",
            "api/views/.env.local",
            ".envrc",
        ),
        *(
            "var/secrets.env",
            "var/proxysite.sqlite3",
            "var/journal/1",
            "var/spool/1",
            "secrets.env",
        ),
        *("db.sqlite3", "proxysite.sqlite3-wal", "api/db.sqlite3", "tokens/old.sqlite3-journal"),
        *("tokens.txt", "tokens.csv", "my-tokens/list.txt", "proxysite.dump", "id_rsa", "notes.md"),
        *(
            ".git/config",
            ".venv/bin/python",
            ".ci/run",
            ".interop/npm/x.js",
            "node_modules/a.js",
            "conftest.py",
        ),
        *(
            "api/tests/test_keys.py",
            "proxysite/tests/npm/package.json",
            "api/__pycache__/keys.cpython-312.pyc",
        ),
        *("requirements/development.txt", "benchmarks/run.py", "docker/compose.yaml"),
    ],
)
def test_what_stays_out_of_the_image(path):
    assert composefile.ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "manage.py",
            "LICENSE",
            "requirements/production.txt",
            "proxysite/settings.py",
            "tokens/models.py",
        ),
        *(
            "api/views/chat.py",
            "providers/migrations/0001_initial.py",
            "conversations/strategies/direct.py",
        ),
        *("tokens/management/commands/import_tokens.py", "templates/admin/base_site.html"),
    ],
)
def test_what_goes_into_the_image(path):
    assert not composefile.ignored(path)
