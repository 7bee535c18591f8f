"""`issue_key` with a key that callers have already, and with a model for requests without one."""

import io
import sys

import pytest

from api import authentication, keys
from api.models import ApiKey
from providers.models import ChatModel, Provider
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db
OLD_KEY = "the-key-that-everybody-has"


def type_key(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def echo() -> None:
    provider = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    ChatModel.objects.create(public_id="echo", provider=provider, upstream_name="echo")


def test_a_key_of_standard_input_works_and_is_not_printed(
    echo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_key(monkeypatch, f"{OLD_KEY}\n")
    printed = run("issue_key", "alice", "--existing-key", "--models", "echo", "--name", "old")
    row = ApiKey.objects.get()
    assert printed == f"Key {row.prefix} is a key of alice now.\n"
    assert OLD_KEY not in printed
    caller = authentication.load_caller(keys.digest_key(OLD_KEY))
    assert caller is not None
    assert caller.allowed_models == {"echo"}
    assert row.name == "old"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("short", "it is shorter than 8 characters"),
        ("has a space in it", "it has characters that no client can send as a key"),
        ("", "it is shorter than 8 characters"),
        ("x" * 513, "it is longer than 512 characters"),
    ],
)
def test_a_text_that_no_client_can_send_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    type_key(monkeypatch, text)
    assert refused("issue_key", "alice", "--existing-key") == f"This cannot be a key: {reason}."
    assert not ApiKey.objects.exists()


def test_a_known_key_is_refused_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    type_key(monkeypatch, OLD_KEY)
    run("issue_key", "alice", "--existing-key")
    type_key(monkeypatch, OLD_KEY)
    row = ApiKey.objects.get()
    said = refused("issue_key", "bob", "--existing-key")
    assert said == f"This key is known here already: {row.prefix} of alice."


def test_a_dry_run_takes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    type_key(monkeypatch, OLD_KEY)
    run("issue_key", "alice", "--existing-key", "--dry-run")
    assert not ApiKey.objects.exists()


def test_a_default_model_is_one_that_the_key_may_use(echo: None) -> None:
    run("issue_key", "alice", "--default-model", "echo")
    assert ApiKey.objects.get().default_model == "echo"
    said = refused("issue_key", "alice", "--default-model", "gone")
    assert said == "There is no model 'gone'. `list_models` shows what there is."
