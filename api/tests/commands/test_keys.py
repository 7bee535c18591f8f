"""The commands about API keys: issue_key, revoke_key."""

import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from api import authentication, keys
from api.models import ApiKey
from api.views.model_catalogue import model_objects
from providers.exceptions import Forbidden
from providers.models import ChatModel, ModelAlias, Provider
from providers.tests.command_runner import refused, run
from proxysite.testing import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo() -> None:
    provider = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    ChatModel.objects.create(public_id="echo", provider=provider, upstream_name="echo")
    ModelAlias.objects.create(alias="gpt-4o", public_id="echo")


# --- issue_key ------------------------------------------------------------------------------------
def test_the_key_stands_alone_on_the_output_and_works() -> None:
    notes = StringIO()
    key = run("issue_key", "alice", "--name", "laptop", notes=notes)
    assert re.fullmatch(r"sk-ps-[0-9A-Za-z]{49}\n", key)
    assert keys.digest_key(key.strip()) == ApiKey.objects.get().digest
    assert key.strip() not in notes.getvalue()
    assert "not shown again" in notes.getvalue()
    caller = authentication.load_caller(keys.digest_key(key.strip()))
    assert caller is not None
    assert caller.allowed_models == frozenset()
    alice = User.objects.get()
    assert (alice.username, alice.has_usable_password(), alice.is_staff) == ("alice", False, False)


def test_a_known_user_gets_another_key() -> None:
    run("issue_key", "alice")
    run("issue_key", "alice")
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 2)


def test_a_key_may_be_limited_to_models_and_aliases_and_in_time(echo: None) -> None:
    run("issue_key", "alice", "--models", " echo , gpt-4o ", "--expires", "30d")
    row = ApiKey.objects.get()
    assert row.allowed_models == ["echo", "gpt-4o"]
    assert row.expires_at is not None
    assert abs(row.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


@pytest.fixture
def all_kinds() -> list[str]:
    """Return the names of models of every kind that the rows have."""
    acme = rows.create_provider("https://acme.example", "acme", models=("big", "small"))
    rows.create_provider(
        "https://old.example", "old", models=("of-disabled-provider",), enabled=False
    )
    acme.models.filter(public_id="small").update(enabled=False)
    rows.create_virtual_model("o1-big", "big", "stepwise")
    rows.create_virtual_model("o1-off", "big", "stepwise")
    rows.create_alias("gpt-4o", "big")
    rows.create_alias("o1", "o1-big")
    return ["big", "gpt-4o", "o1", "o1-big", "o1-off", "of-disabled-provider", "small"]


def test_a_key_may_be_limited_to_every_name_that_the_admin_offers(
    admin_client: Client,
    all_kinds: list[str],
) -> None:
    form = admin_client.get("/admin/api/apikey/add/").context["adminform"].form
    assert [name for name, _ in form.fields["allowed_models"].choices] == all_kinds
    run("issue_key", "alice", "--models", ",".join(all_kinds))
    assert ApiKey.objects.get().allowed_models == all_kinds


def test_every_name_that_a_key_may_be_given_stands_in_list_models(all_kinds: list[str]) -> None:
    listed = json.loads(run("list_models", "--format", "json"))
    names = {name for entry in listed for name in (entry["id"], *entry["aliases"])}
    assert names == set(all_kinds) == keys.find_allowable_models()


def test_a_key_for_a_virtual_model_alone_may_use_it_and_no_other(all_kinds: list[str]) -> None:
    key = run("issue_key", "alice", "--models", "o1-big").strip()
    caller = authentication.load_caller(keys.digest_key(key))
    assert caller is not None
    assert list(model_objects.list_model_objects(caller)) == ["o1", "o1-big"]


def test_with_a_key_that_stores_nothing_nothing_is_kept() -> None:
    key = run("issue_key", "alice", "--no-storing").strip()
    assert not ApiKey.objects.get().stores_content
    caller = authentication.load_caller(keys.digest_key(key))
    assert caller is not None
    assert not caller.can_store
    with pytest.raises(Forbidden):
        caller.require_storing()
    run("issue_key", "bob")
    assert ApiKey.objects.get(user__username="bob").stores_content


def test_issuing_dry_makes_neither_key_nor_user() -> None:
    assert run("issue_key", "alice", "--dry-run") == "A key for alice would be issued.\n"
    assert not ApiKey.objects.exists()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("alice", "--models", "echo,nothing"), "No such model: nothing."),
        (("alice", "--expires", "tomorrow"), "'tomorrow' is not a time"),
        (("alice", "--expires", "0d"), "'0d' is not a time"),
        (("a b/c",), "cannot be a user name"),
        (("",), "cannot be a user name"),
        (("x" * 200,), "cannot be a user name"),
    ],
)
def test_issue_key_says_what_is_wrong_and_makes_nothing(
    echo: None, words: tuple[str, ...], text: str
) -> None:
    assert text in refused("issue_key", *words)
    assert not ApiKey.objects.exists()
    assert not User.objects.exists()


def test_an_inactive_user_gets_no_key() -> None:
    User.objects.create_user("bob", is_active=False)
    assert refused("issue_key", "bob") == "The user bob is not active."


# --- revoke_key -----------------------------------------------------------------------------------
@pytest.fixture
def key() -> str:
    return keys.create_key(User.objects.create_user("alice"))[1]


def test_a_key_is_revoked_by_what_the_admin_shows_of_it_or_by_itself(key: str) -> None:
    row = ApiKey.objects.get()
    for shown in (row.prefix, str(row), f" {row.prefix}... ", key, key[:9]):
        ApiKey.objects.update(revoked_at=None)
        assert run("revoke_key", shown) == f"Key {row} of alice is revoked.\n"
        assert authentication.load_caller(keys.digest_key(key)) is None
    assert run("revoke_key", row.prefix) == f"Key {row} of alice was revoked already.\n"


def test_revoking_dry_changes_nothing(key: str) -> None:
    assert "would be revoked" in run("revoke_key", key[:12], "--dry-run")
    assert authentication.load_caller(keys.digest_key(key)) is not None


def test_an_unknown_or_ambiguous_beginning_revokes_nothing(key: str) -> None:
    mallory = User.objects.create_user("mallory")
    assert refused("revoke_key", "sk-ps-nothing") == "No key begins with sk-ps-nothing."
    assert refused("revoke_key", key[:15].swapcase()).startswith("No key begins with")
    for pattern in ("%", "_", "sk-ps-%"):
        assert refused("revoke_key", pattern).startswith("No key begins with")
    for empty in ("", " ", "…"):
        assert refused("revoke_key", empty) == "Give the beginning of a key."
    other, _ = keys.create_key(mallory)
    said = refused("revoke_key", "sk-ps-")
    assert said.startswith("Several keys begin so: ")
    assert f"{other} (mallory)" in said
    for _ in range(10):
        keys.create_key(mallory)
    assert refused("revoke_key", "sk-ps-").endswith(", …. Give more of it.")
    assert ApiKey.objects.filter(revoked_at=None).count() == 12
