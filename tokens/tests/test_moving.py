"""Tokens are moved to another provider with their secrets; those that must not move stay."""

import pytest

from providers import vault
from providers.models import Provider
from tokens.models import UpstreamAccount, UpstreamToken
from tokens.moving import TargetRefused, move_tokens

pytestmark = pytest.mark.django_db
SECRET = "sk-that-went-to-the-wrong-provider-0123456789"


@pytest.fixture
def wrong() -> Provider:
    return Provider.objects.create(
        name="wrong", kind="openai_compatible", base_url="https://api.wrong.example/v1"
    )


@pytest.fixture
def right() -> Provider:
    return Provider.objects.create(
        name="right", kind="openai_compatible", base_url="https://api.right.example/v1"
    )


def create_token(provider: Provider, secret: str = SECRET, **fields: object) -> UpstreamToken:
    token = UpstreamToken.from_secret(provider, secret, **fields)
    token.save()
    return token


def test_a_token_moves_with_its_secret_and_begins_anew(wrong: Provider, right: Provider) -> None:
    token = create_token(wrong, state="disabled", reason="auth: no", strikes=3, label="of June")
    assert move_tokens([token.pk], right) == {"moved": 1}
    token.refresh_from_db()
    assert (token.provider, token.state, token.strikes, token.reason) == (right, "active", 0, "")
    assert token.label == "of June"
    assert vault.decrypt_secret(token.sealed, str(token.pk)) == SECRET


def test_a_secret_that_is_known_there_stays_also_if_two_come_at_once(
    wrong: Provider, right: Provider
) -> None:
    third = Provider.objects.create(
        name="third", kind="openai_compatible", base_url="https://api.third.example/v1"
    )
    create_token(right, "sk-known-at-the-right-provider-already")
    ids = [
        create_token(wrong, "sk-known-at-the-right-provider-already").pk,
        create_token(wrong).pk,
        create_token(third).pk,
    ]
    assert move_tokens(ids, right) == {"known there": 2, "moved": 1}
    assert right.tokens.count() == 2


def test_tokens_of_accounts_and_refresh_tokens_of_another_kind_stay(
    wrong: Provider, right: Provider
) -> None:
    account = UpstreamAccount.objects.create(provider=wrong, email="june@example.org")
    of_account = create_token(wrong, account=account)
    web = Provider.objects.create(name="web", kind="kimi_web", base_url="https://www.kimi.com")
    refreshed = create_token(web, "another-secret", sealed_refresh="sealed")
    outcomes = move_tokens([of_account.pk, refreshed.pk], right)
    assert outcomes == {"of an account": 1, "renewed in another way": 1}
    assert not right.tokens.exists()


def test_nothing_moves_to_a_provider_whose_address_nobody_confirmed(
    wrong: Provider, right: Provider
) -> None:
    token = create_token(wrong)
    Provider.objects.filter(pk=right.pk).update(base_url="https://evil.example/v1")
    right.refresh_from_db()
    with pytest.raises(TargetRefused):
        move_tokens([token.pk], right)
    assert UpstreamToken.objects.get().provider == wrong
