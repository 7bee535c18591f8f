"""Secrets at rest: encrypted with AES-256-GCM, found by a keyed fingerprint, shown masked.

A sealed secret reads `v1.<key id>.<base64 of nonce and ciphertext>`. It is bound to its row: the
row's primary key is authenticated with it, so a ciphertext copied to another row does not open.
Keys come from `settings.FIELD_KEYS`: the first one seals, all of them open.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

KEY_BYTES = 32
NONCE_BYTES = 12


class VaultError(Exception):
    """A secret that cannot be opened; the message names the key id, never the secret."""


@cache
def _parse_keys(keys: tuple[str, ...]) -> dict[str, AESGCM]:
    """Return the ciphers by key id, in the order of the setting.

    Raises ValueError on a key that is not 32 bytes of base64.
    """
    ciphers = {}
    for entry in keys:
        key_id, _, text = (part.strip() for part in entry.partition(":"))
        key = urlsafe_b64decode(text)
        if len(key) != KEY_BYTES or not key_id.isidentifier():
            raise ValueError("an entry is not a plain name, a colon and 32 bytes of base64")
        ciphers[key_id] = AESGCM(key)
    return ciphers


def get_ciphers() -> dict[str, AESGCM]:
    return _parse_keys(tuple(settings.FIELD_KEYS))


def encrypt_secret(secret: str, bound_to: str) -> str:
    """Return the secret sealed with the first key; only the row with this id can open it."""
    key_id, cipher = next(iter(get_ciphers().items()))
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, secret.encode(), bound_to.encode())
    return f"v1.{key_id}.{urlsafe_b64encode(sealed).decode()}"


def read_key_id(sealed: str) -> str:
    """Return the id of the key that sealed a secret; empty when the text is not a sealed secret."""
    if sealed.count(".") < 2:
        return ""
    return sealed.split(".")[1]


def decrypt_secret(sealed: str, bound_to: str) -> str:
    """Return the secret.

    Raises VaultError when the key is missing, or when the text was changed or moved to another row.
    """
    version, _, key_and_text = sealed.partition(".")
    key_id, _, text = key_and_text.partition(".")
    cipher = get_ciphers().get(key_id)
    if version != "v1" or cipher is None:
        raise VaultError(f"sealed with key {key_id!r}, which FIELD_KEYS does not have")
    try:
        nonce_and_ciphertext = urlsafe_b64decode(text)
        nonce = nonce_and_ciphertext[:NONCE_BYTES]
        ciphertext = nonce_and_ciphertext[NONCE_BYTES:]
        return cipher.decrypt(nonce, ciphertext, bound_to.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise VaultError(
            f"does not open with key {key_id!r}: changed, or moved from another row"
        ) from error


def make_digest(purpose: str, text: str) -> str:
    """Return a keyed SHA-256 of `text` as 64 hex digits.

    Equal texts have equal digests, so rows are found by it. Without the pepper (`KEY_PEPPER`) it
    reveals nothing about the text.
    """
    return hmac.digest(
        f"{purpose}:{settings.KEY_PEPPER}".encode(), text.encode("utf-8", "surrogatepass"), "sha256"
    ).hex()


def fingerprint_secret(secret: str) -> str:
    """Return the digest by which two tokens with the same secret are recognised as one."""
    return make_digest("token", secret)


def mask_secret(secret: str) -> str:
    """Return a form that a person can recognise and nobody can use: `sk-abc…wxyz`.

    Secrets shorter than 16 characters show their first two characters only.
    """
    if len(secret) < 16:
        return f"{secret[:2]}…"
    return f"{secret[:6]}…{secret[-4:]}"
