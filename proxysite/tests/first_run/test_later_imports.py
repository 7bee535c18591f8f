"""What the first start did not import is imported at a later one, and nothing twice."""

from pathlib import Path
from typing import Any

import pytest

from api import keys
from api.authentication import load_caller
from api.models import ApiKey, EnvironmentImport
from providers import seed_presets
from providers.models import ChatModel, Provider
from proxysite.first_run import bootstrap
from proxysite.first_run.import_environment import import_credentials
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db


def test_a_key_that_is_set_after_the_first_start_is_imported_then(settings: Any) -> None:
    assert bootstrap.prepare_database().first_run is not None
    settings.VALID_API_KEY = "a-key-of-ours"
    later = bootstrap.prepare_database()
    assert later.first_run is None
    assert later.import_lines[0] == "VALID_API_KEY: taken as an API key of the user 'shared'."
    assert load_caller(keys.digest_key("a-key-of-ours")) is not None
    assert bootstrap.prepare_database().import_lines == ()


def test_a_refused_key_is_reported_until_it_is_corrected(settings: Any) -> None:
    settings.VALID_API_KEY = "sk-k2think"
    first = import_credentials()
    assert first[0].startswith("VALID_API_KEY: not taken, ")
    assert import_credentials() == first[:1]
    settings.VALID_API_KEY = "a-key-of-ours"
    assert import_credentials() == ["VALID_API_KEY: taken as an API key of the user 'shared'."]


def test_a_deleted_key_or_token_does_not_come_back(settings: Any) -> None:
    settings.DEFAULT_AUTHKEYS = ["team-key-one", "team-key-two"]
    settings.KIMI_TOKENS = ["kimi-token-one", "kimi-token-two"]
    import_credentials()
    ApiKey.objects.filter(name="DEFAULT_AUTHKEYS").first().delete()
    UpstreamToken.objects.first().delete()
    assert import_credentials() == []
    assert (ApiKey.objects.count(), UpstreamToken.objects.count()) == (1, 1)


def test_a_file_is_imported_again_when_it_has_other_lines(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    settings.TOKENS_FILE = str(file)
    assert import_credentials()[-1].startswith("TOKENS_FILE: cannot read ")
    file.write_text("token-number-one\n")
    assert import_credentials() == ["TOKENS_FILE: 1 imported for k2think-web."]
    assert import_credentials() == []
    file.write_text("token-number-one\ntoken-number-two\nabc\n")
    faulty = "TOKENS_FILE: 1 imported for k2think-web, 1 malformed (line 3 too short)."
    assert import_credentials() == [faulty]
    assert import_credentials() == [faulty.replace("1 imported", "0 imported")]


def test_the_mode_is_applied_once_for_each_value(settings: Any) -> None:
    settings.VALID_API_KEY = "a-key-of-ours"
    import_credentials()
    assert Provider.objects.get().mode == "guest"
    settings.PROXY_MODE = "user"
    import_credentials()
    assert Provider.objects.get().mode == "user"
    Provider.objects.update(mode="guest")  # as a person does in the admin
    assert import_credentials() == []
    assert Provider.objects.get().mode == "guest"


def test_a_refused_address_is_applied_when_it_is_corrected(settings: Any) -> None:
    settings.USER_API_URL = "http://k2.example.com/api/chat/completions"
    assert import_credentials()[0].startswith("USER_API_URL: not taken, ")
    settings.USER_API_URL = "https://k2.example.com/api/chat/completions"
    assert import_credentials() == []
    assert Provider.objects.get().base_url == "https://k2.example.com/api"


def test_a_provider_that_was_there_before_is_left_as_it_is_and_a_line_says_so(
    settings: Any,
) -> None:
    seed_presets.create_preset_rows("k2think-web")
    settings.PROXY_MODE, settings.USER_API_URL = "guest", "https://k2.example.com/api"
    assert import_credentials() == [
        "PROXY_MODE: k2think-web was in the mode user before: change it in the admin.",
        "USER_API_URL: not taken, k2think-web had the address https://www.k2think.ai/api before: "
        "change it in the admin.",
    ]
    assert Provider.objects.get().mode == "user"


def test_a_deleted_provider_is_not_made_again(settings: Any) -> None:
    settings.PROXY_MODE, settings.KIMI_TOKENS = "user", ["kimi-token-one"]
    import_credentials()
    Provider.objects.all().delete()
    assert import_credentials() == [
        f"{name} was deleted, so nothing is imported for it: `seed_providers {name}` adds it."
        for name in ("k2think-web", "kimi-web")
    ]
    assert not Provider.objects.exists()


def test_tokens_of_a_variable_are_for_users_and_hidden_thinking_is_kept_hidden(
    settings: Any,
) -> None:
    settings.K2THINK_TOKEN, settings.OUTPUT_THINKING = ["k2-token-one", "k2-token-two"], False
    assert import_credentials()[-1] == "K2THINK_TOKEN: 2 imported for k2think-web."
    assert Provider.objects.get().mode == "user"
    assert set(ChatModel.objects.values_list("thinking", flat=True)) == {"hidden"}


def test_no_record_has_a_secret_in_clear(settings: Any) -> None:
    settings.VALID_API_KEY, settings.KIMI_TOKENS = "a-key-of-ours", ["kimi-token-one"]
    import_credentials()
    records = repr(list(EnvironmentImport.objects.values_list()))
    assert "a-key" not in records
    assert "kimi-token" not in records
