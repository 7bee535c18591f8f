from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from api import keys
from api.authentication import load_caller
from api.models import ApiKey
from providers.models import Provider
from proxysite.first_run import import_environment
from tokens.models import UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db


def test_an_environment_without_their_variables_changes_nothing() -> None:
    assert import_environment.import_credentials() == []
    assert not Provider.objects.exists()
    assert not ApiKey.objects.exists()


def test_their_keys_work_whatever_their_format_and_open_no_staff_door(settings: Any) -> None:
    settings.VALID_API_KEY = "a-key-of-ours"
    settings.DEFAULT_AUTHKEYS = ["team-key-one", "team-key-two"]
    lines = import_environment.import_credentials()
    assert [line.split(":")[0] for line in lines] == [
        "VALID_API_KEY",
        *["DEFAULT_AUTHKEYS"] * 2,
        "The provider k2think-web is there, in the mode guest.",
    ]
    for key in ("a-key-of-ours", "team-key-one", "team-key-two"):
        caller = load_caller(keys.digest_key(key))
        assert caller is not None
        assert not get_user_model().objects.get(pk=caller.user_id).is_staff
        assert all(key not in line for line in lines)
        assert all(key not in row.prefix for row in ApiKey.objects.all())


@pytest.mark.parametrize(
    "key", ["sk-default", "sk-k2think", "sk-false", "short", "has a space", "ключ-ключ-ключ"]
)
def test_a_published_or_impossible_key_is_refused_with_a_clear_line(
    settings: Any, key: str
) -> None:
    settings.DEFAULT_AUTHKEYS = [key]
    [line] = import_environment.import_credentials()
    assert line.startswith("DEFAULT_AUTHKEYS: not taken, ")
    assert not ApiKey.objects.exists()


def test_a_key_that_was_revoked_does_not_come_back(settings: Any) -> None:
    settings.DEFAULT_AUTHKEYS = ["team-key-one"]
    import_environment.import_credentials()
    ApiKey.objects.all().revoke()
    import_environment.import_credentials()
    assert load_caller(keys.digest_key("team-key-one")) is None


def test_their_token_file_and_mode_become_rows(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text("# ours\ntoken-number-one\n\ntoken-number-two\n")
    settings.USER_TOKENS_FILE, settings.PROXY_MODE = str(file), "user"
    settings.USER_API_URL = "https://k2.example/api/chat/completions"
    lines = import_environment.import_credentials()
    provider = Provider.objects.get()
    assert (provider.name, provider.mode, provider.base_url) == (
        "k2think-web",
        "user",
        "https://k2.example/api",
    )
    assert (provider.kind, provider.allow_private) == ("k2think_web", False)
    assert UpstreamToken.objects.filter(provider=provider).count() == 2
    assert lines[-1] == "USER_TOKENS_FILE: 2 imported for k2think-web."


def test_their_accounts_become_rows_that_sign_in(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "accounts.txt"
    file.write_text("june@example.org:a-password-of-june\nmay@example.org----a-password-of-may\n")
    settings.ACCOUNTS_FILE = str(file)
    assert (
        import_environment.import_credentials()[-1] == "ACCOUNTS_FILE: 2 imported for k2think-web."
    )
    assert set(UpstreamAccount.objects.values_list("email", flat=True)) == {
        "june@example.org",
        "may@example.org",
    }
    assert all(token.is_renewable for token in UpstreamToken.objects.all())


def test_an_address_on_this_machine_is_taken_because_the_operator_named_it(settings: Any) -> None:
    settings.GUEST_API_URL = "http://127.0.0.1:9/api/guest/chat/completions"
    import_environment.import_credentials()
    provider = Provider.objects.get()
    assert (provider.base_url, provider.allow_private) == ("http://127.0.0.1:9/api", True)


def test_plain_http_to_a_public_host_is_not_taken(settings: Any) -> None:
    settings.USER_API_URL = "http://k2.example.com/api/chat/completions"
    assert import_environment.import_credentials()[0].startswith("USER_API_URL: not taken, ")
    assert not Provider.objects.get().allow_private


def test_what_cannot_be_taken_is_said_and_the_rest_is_taken(settings: Any, tmp_path: Path) -> None:
    settings.USER_API_URL, settings.PROXY_MODE = "nonsense", "sideways"
    settings.TOKENS_FILE = str(tmp_path / "missing.txt")
    lines = import_environment.import_credentials()
    assert [line.split(":")[0] for line in lines[:2]] == ["PROXY_MODE", "USER_API_URL"]
    assert lines[-1].startswith("TOKENS_FILE: cannot read ")
    assert Provider.objects.get().base_url == "https://www.k2think.ai/api"


def test_kimi_tokens_go_to_its_web_interface(settings: Any) -> None:
    settings.KIMI_TOKENS = ["kimi-token-one", "kimi-token-two", "kimi-token-one"]
    assert import_environment.import_credentials() == ["KIMI_TOKENS: 2 imported for kimi-web."]
    assert UpstreamToken.objects.filter(provider__name="kimi-web").count() == 2
