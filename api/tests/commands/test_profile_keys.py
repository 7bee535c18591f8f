"""The key that O1-API wanted from its callers, taken with its configuration."""

from pathlib import Path

import pytest

from api import authentication, keys
from api.models import ApiKey
from providers.tests.command_runner import run

pytestmark = pytest.mark.django_db
OLD_KEY = "the-key-that-everybody-has"
CONFIG = f"""api_bearer_token: {OLD_KEY}  # of the callers
model_provider_api_key: sk-made-up-0123456789
default_api_url: "https://api.example.org/v1/chat/completions"
default_model: gpt-4o-mini
"""


def write_config(tmp_path: Path, text: str = CONFIG) -> str:
    (tmp_path / "config.yaml").write_text(text)
    return str(tmp_path / "config.yaml")


def test_the_key_is_taken_and_its_requests_need_no_model(tmp_path: Path) -> None:
    printed = run("import_profile", write_config(tmp_path))
    assert printed.splitlines()[-1] == (
        "api_bearer_token: taken as an API key of the user 'shared'; requests without a model get "
        "o1-gpt-4o-mini."
    )
    assert OLD_KEY not in printed
    caller = authentication.load_caller(keys.digest_key(OLD_KEY))
    assert caller is not None
    assert caller.default_model == "o1-gpt-4o-mini"
    again = run("import_profile", write_config(tmp_path))
    assert again.splitlines()[-1] == "api_bearer_token: there already."
    assert ApiKey.objects.count() == 1


def test_a_name_of_our_own_becomes_the_default_model(tmp_path: Path) -> None:
    run("import_profile", write_config(tmp_path), "--name", "deep-thought")
    assert ApiKey.objects.get().default_model == "deep-thought"


@pytest.mark.parametrize("key", ["short", "sk-default", "'of the callers'"])
def test_a_key_that_cannot_be_taken_is_a_line_and_the_rest_is_imported(
    tmp_path: Path, key: str
) -> None:
    text = CONFIG.replace(OLD_KEY, key)
    printed = run("import_profile", write_config(tmp_path, text))
    assert "api_bearer_token: not taken, " in printed
    assert "Model o1-gpt-4o-mini" in printed
    assert not ApiKey.objects.exists()


def test_a_dry_run_takes_no_key(tmp_path: Path) -> None:
    run("import_profile", write_config(tmp_path), "--dry-run")
    assert not ApiKey.objects.exists()
