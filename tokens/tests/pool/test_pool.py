"""The credential that the pool shows to an upstream."""

from typing import Any
from uuid import UUID

import pytest

from providers import vault
from providers.vault import VaultError
from tokens.pool.pool import Pool
from tokens.tests.pool_cast import UPSTREAM, Clock, make_rows, make_token, make_upstream, pick


async def test_a_token_is_opened_once_and_again_when_its_secret_changed(
    pool: Pool, monkeypatch: Any
) -> None:
    opened: list[str] = []
    unseal = vault.decrypt_secret
    monkeypatch.setattr(
        vault, "decrypt_secret", lambda sealed, row: opened.append(row) or unseal(sealed, row)
    )
    one = pick(pool)
    assert {pool.open_credential(one).secret for _ in range(3)} == {"sk-made-up-1"}
    assert len(opened) == 1
    changed = make_token(1, changed=2)
    changed.seal_secret("sk-another-one")
    await pool.apply_rows(make_rows(changed, version=2, whole=False))
    assert pool.open_credential(one).secret == "sk-another-one"
    assert pool.open_credential(one).token_id == one.id


async def test_a_secret_that_does_not_open_is_an_error_of_this_token_alone(pool: Pool) -> None:
    await pool.apply_rows(
        make_rows(make_token(1, sealed="v1.k9.AAAA", changed=2), version=2, whole=False)
    )
    entries = pool.find_ring(UPSTREAM).entries
    with pytest.raises(VaultError, match="k9"):
        pool.open_credential(entries[UUID(int=1)])
    assert pool.open_credential(entries[UUID(int=2)]).secret == "sk-made-up-2"


def test_a_provider_that_needs_no_token_and_has_none_is_asked_without(clock: Clock) -> None:
    pool = Pool()
    assert pool.is_asked_anonymously(make_upstream(pk=5, name="o", needs_token=False))
    assert not pool.is_asked_anonymously(make_upstream(pk=5, name="o"))
    assert pool.open_credential(None).secret == ""
    assert pool.open_credential(None).token_id is None


def test_a_provider_that_needs_no_token_but_has_one_is_asked_with_it(pool: Pool) -> None:
    assert not pool.is_asked_anonymously(make_upstream(needs_token=False))
