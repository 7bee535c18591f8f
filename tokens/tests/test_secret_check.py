from base64 import urlsafe_b64encode
from typing import Any

import pytest

from providers.models import Provider
from proxysite.home import generate_field_key, generate_secrets
from tokens import secret_check
from tokens.maintenance import token_check
from tokens.models import SecretCheck, UpstreamToken
from tokens.querysets import UNREADABLE_REASON
from tokens.secret_check import SecretsDiffer, enable_readable_tokens, require_secrets

pytestmark = pytest.mark.django_db


def key(number: int) -> str:
    return urlsafe_b64encode(bytes([number] * 32)).decode()


@pytest.fixture(autouse=True)
def secrets(settings: Any) -> Any:
    """Of the machine that makes the database."""
    SecretCheck.objects.all().delete()
    settings.FIELD_KEYS = [f"k1:{key(1)}"]
    settings.KEY_PEPPER = "p" * 40
    return settings


def tokens(count: int, name: str = "p") -> list[UpstreamToken]:
    provider = Provider.objects.create(name=name, kind="echo")
    rows = [UpstreamToken.from_secret(provider, f"sk-made-up-{number}") for number in range(count)]
    for row in rows:
        row.save()
    return rows


def differing() -> str:
    with pytest.raises(SecretsDiffer) as caught:
        require_secrets()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_who_made_the_database_starts_again_and_again(secrets: Any) -> None:
    for _ in range(3):
        require_secrets()
    assert set(SecretCheck.objects.values_list("name", flat=True)) == {"FIELD_KEYS", "KEY_PEPPER"}
    assert not SecretCheck.objects.filter(value__contains="p" * 10).exists()


@pytest.mark.parametrize(
    ("field_keys", "pepper", "named"),
    [
        ([f"k1:{key(2)}"], "p" * 40, "another FIELD_KEYS."),
        ([f"k2:{key(2)}"], "p" * 40, "another FIELD_KEYS."),
        ([f"k1:{key(1)}"], "q" * 40, "another KEY_PEPPER."),
        ([f"k1:{key(2)}"], "q" * 40, "another FIELD_KEYS and KEY_PEPPER."),
    ],
)
@pytest.mark.parametrize("checked", [True, False], ids=["with check values", "by its tokens"])
def test_other_secrets_are_refused_with_what_to_copy(
    secrets: Any, field_keys: list[str], pepper: str, named: str, checked: bool
) -> None:
    tokens(3)
    if checked:
        require_secrets()
    secrets.FIELD_KEYS, secrets.KEY_PEPPER = field_keys, pepper
    said = differing()
    assert "secrets.env" in said
    if checked or "and" not in named:
        assert named in said
    else:  # with a key that opens nothing there is nothing to compare digests with
        assert "FIELD_KEYS" in said
    if not checked:
        assert not SecretCheck.objects.exists()


def test_several_keys_open_and_the_check_moves_to_the_first(secrets: Any) -> None:
    require_secrets()
    secrets.FIELD_KEYS = [f"k2:{key(2)}", f"k1:{key(1)}"]
    require_secrets()
    secrets.FIELD_KEYS = [f"k2:{key(2)}"]
    require_secrets()
    secrets.FIELD_KEYS = [f"k1:{key(1)}"]
    assert "FIELD_KEYS" in differing()


def test_a_database_without_check_values_is_judged_by_most_of_its_oldest_tokens(
    secrets: Any,
) -> None:
    tokens(5)
    secrets.FIELD_KEYS = [f"k1:{key(2)}"]
    tokens(2, "joined")  # what a wrong machine has written before there were check values
    assert "FIELD_KEYS" in differing()
    secrets.FIELD_KEYS = [f"k1:{key(1)}"]
    require_secrets()


def test_of_two_who_start_first_at_the_same_time_one_is_refused(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = secret_check.create_check_values

    def beaten() -> dict[str, str]:
        mine = secrets.FIELD_KEYS
        secrets.FIELD_KEYS = [f"k9:{key(9)}"]
        real()
        secrets.FIELD_KEYS = mine
        return real()

    monkeypatch.setattr(secret_check, "create_check_values", beaten)
    assert "FIELD_KEYS" in differing()


def test_a_token_that_does_not_open_is_marked_and_enabled_when_it_opens_again(secrets: Any) -> None:
    first, second = tokens(2)
    secrets.FIELD_KEYS = [f"k2:{key(2)}"]
    token_check.write_outcome(first, "unreadable", None)
    UpstreamToken.objects.filter(pk=second.pk).mark_disabled("by the operator")
    row = UpstreamToken.objects.get(pk=first.pk)
    assert (row.state, row.reason, row.strikes) == ("disabled", UNREADABLE_REASON, 0)
    assert enable_readable_tokens() == 0
    secrets.FIELD_KEYS = [f"k2:{key(2)}", f"k1:{key(1)}"]
    assert enable_readable_tokens() == 1
    states = {row.pk: row.state for row in UpstreamToken.objects.all()}
    assert states == {first.pk: "active", second.pk: "disabled"}


def test_the_id_of_a_new_key_is_made_of_the_key() -> None:
    ids = {generate_field_key().partition(":")[0] for _ in range(10)}
    assert len(ids) == 10
    assert all(one.isidentifier() for one in ids)
    assert generate_secrets()["FIELD_KEYS"].partition(":")[0] not in ids
