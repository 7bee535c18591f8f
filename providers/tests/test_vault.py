import base64
from typing import Any

import pytest

from providers import vault
from providers.vault import VaultError

SECRET = "sk-made-up-0123456789-äöü-🔑"


def key(seed: int, length: int = 32) -> str:
    return base64.urlsafe_b64encode(bytes([seed]) * length).decode()


@pytest.fixture(autouse=True)
def keys(settings: Any) -> Any:
    settings.FIELD_KEYS = [f"k1:{key(1)}"]
    settings.KEY_PEPPER = "a pepper that is made up for this test"
    return settings


@pytest.mark.parametrize("secret", ["x", SECRET, "a" * 8_192, "with.dots.and=signs", ""])
def test_what_was_sealed_opens_for_its_row(secret: str) -> None:
    assert vault.decrypt_secret(vault.encrypt_secret(secret, "row-1"), "row-1") == secret


def test_a_sealed_secret_names_its_key_and_shows_nothing_of_itself() -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    assert sealed.startswith("v1.k1.")
    raw = base64.urlsafe_b64decode(sealed.split(".")[2])
    for part in (SECRET, SECRET[:8], "made-up", "row-1"):
        assert part not in sealed
        assert part.encode() not in raw
        assert base64.b64encode(part.encode()).decode().rstrip("=") not in sealed


def test_sealing_twice_gives_two_texts() -> None:
    assert len({vault.encrypt_secret(SECRET, "row-1") for _ in range(50)}) == 50


def test_a_ciphertext_moved_to_another_row_does_not_open() -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    with pytest.raises(VaultError, match="'k1'") as caught:
        vault.decrypt_secret(sealed, "row-2")
    assert SECRET not in str(caught.value)


def test_a_text_that_was_changed_anywhere_does_not_open() -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    for place in range(len("v1.k1."), len(sealed), 5):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(VaultError):
            vault.decrypt_secret(changed, "row-1")


@pytest.mark.parametrize(
    "text",
    ["", "v1", "v1.", "v1.k1", "v1.k1.", "v1.k1.AAAA", "v1.k1.é", "v1.k1.a", "v2.k1.AAAA", SECRET],
)
def test_what_was_never_sealed_is_an_error_and_never_taken_for_the_secret(text: str) -> None:
    with pytest.raises(VaultError):
        vault.decrypt_secret(text, "row-1")


def test_a_missing_key_is_named_by_its_id(keys: Any) -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    keys.FIELD_KEYS = [f"k2:{key(2)}"]
    with pytest.raises(VaultError, match="'k1', which FIELD_KEYS does not have"):
        vault.decrypt_secret(sealed, "row-1")


def test_a_wrong_key_under_the_right_id_is_named_and_shows_nothing(keys: Any) -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    keys.FIELD_KEYS = [f"k1:{key(9)}"]
    with pytest.raises(VaultError, match="'k1'") as caught:
        vault.decrypt_secret(sealed, "row-1")
    assert key(9) not in str(caught.value)


def test_the_first_key_seals_and_every_key_opens(keys: Any) -> None:
    old = vault.encrypt_secret(SECRET, "row-1")
    keys.FIELD_KEYS = [f"k2:{key(2)}", f"k1:{key(1)}"]
    new = vault.encrypt_secret(SECRET, "row-1")
    assert (old.split(".")[1], new.split(".")[1]) == ("k1", "k2")
    assert vault.decrypt_secret(old, "row-1") == vault.decrypt_secret(new, "row-1") == SECRET


def test_keys_may_be_written_with_spaces_around(keys: Any) -> None:
    sealed = vault.encrypt_secret(SECRET, "row-1")
    keys.FIELD_KEYS = [f" k2 : {key(2)} ", f" k1:{key(1)}"]
    assert vault.decrypt_secret(sealed, "row-1") == SECRET


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "k1",
        "k1:",
        "k1:short",
        f"k1:{key(1, 31)}",
        f"k1:{key(1, 16)}",
        f"k1:{key(1, 33)}",
        "k1:é",
    ],
)
def test_a_key_that_is_not_32_bytes_is_refused(keys: Any, entry: str) -> None:
    keys.FIELD_KEYS = [entry]
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        vault.get_ciphers()


def test_a_key_id_with_a_dot_works_or_is_refused_at_once(keys: Any) -> None:
    keys.FIELD_KEYS = [f"2026.11:{key(1)}"]
    try:
        vault.get_ciphers()
    except ValueError:
        return
    assert vault.decrypt_secret(vault.encrypt_secret(SECRET, "row-1"), "row-1") == SECRET


# --- fingerprints and masks -----------------------------------------------------------------------
def test_equal_secrets_have_one_fingerprint_and_different_ones_do_not() -> None:
    assert vault.fingerprint_secret(SECRET) == vault.fingerprint_secret(SECRET)
    assert len({vault.fingerprint_secret(text) for text in ("a", "b", "a ", "A")}) == 4
    assert len(vault.fingerprint_secret(SECRET)) == 64


def test_a_fingerprint_depends_on_the_pepper_and_on_the_purpose(keys: Any) -> None:
    before = vault.fingerprint_secret(SECRET)
    assert vault.make_digest("key", SECRET) != before
    keys.KEY_PEPPER = "another pepper"
    assert vault.fingerprint_secret(SECRET) != before


def test_a_lone_surrogate_has_a_fingerprint_too() -> None:
    assert len(vault.fingerprint_secret("\ud800")) == 64


@pytest.mark.parametrize("length", [4, 8, 15, 16, 24, 200])
def test_a_mask_shows_too_little_to_use(length: int) -> None:
    secret = "".join(chr(ord("a") + place % 26) for place in range(length))
    shown = vault.mask_secret(secret).replace("…", "")
    assert len(shown) <= length * 2 / 3
    assert len(shown) <= 10
    assert secret not in vault.mask_secret(secret)


def test_a_mask_can_be_recognised() -> None:
    assert vault.mask_secret("sk-abcdefghijklmnopqrstuvwxyz") == "sk-abc…wxyz"
    assert vault.mask_secret("short") == "sh…"
