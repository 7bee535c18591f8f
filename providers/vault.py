"""Secrets at rest: sealed with AES-256-GCM and bound to their row, found again by a keyed
fingerprint, shown masked.

A sealed secret reads `v1.<key id>.<base64 of nonce and ciphertext>`. The bound value (the row's
primary key) is authenticated with it, so a ciphertext moved to another row does not open. Keys come
from `settings.FIELD_KEYS`: the first seals, all open.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

KEY_BYTES = 32


class VaultError(Exception):
    """A secret that cannot be opened; the message names the key id, never the secret."""


@cache
def _ciphers(keys: tuple[str, ...]) -> dict[str, AESGCM]:
    """Ciphers by key id, in the order of the setting. Raises ValueError on a key that is not 32
    bytes of base64.
    """
    found = {}
    for entry in keys:
        key_id, _, text = (part.strip() for part in entry.partition(":"))
        key = urlsafe_b64decode(text)
        if len(key) != KEY_BYTES or not key_id.isidentifier():
            raise ValueError("an entry is not a plain name, a colon and 32 bytes of base64")
        found[key_id] = AESGCM(key)
    return found


def ciphers() -> dict[str, AESGCM]:
    return _ciphers(tuple(settings.FIELD_KEYS))


def seal(secret: str, bound_to: str) -> str:
    key_id, cipher = next(iter(ciphers().items()))
    nonce = os.urandom(12)
    sealed = nonce + cipher.encrypt(nonce, secret.encode(), bound_to.encode())
    return f"v1.{key_id}.{urlsafe_b64encode(sealed).decode()}"


def key_id_of(sealed: str) -> str:
    """Return the id of the key that sealed it."""
    return sealed.split(".")[1] if sealed.count(".") > 1 else ""


def unseal(sealed: str, bound_to: str) -> str:
    """The secret. Raises VaultError when the key is missing or the text was changed or moved to
    another row.
    """
    version, _, rest = sealed.partition(".")
    key_id, _, text = rest.partition(".")
    cipher = ciphers().get(key_id)
    if version != "v1" or cipher is None:
        raise VaultError(f"sealed with key {key_id!r}, which FIELD_KEYS does not have")
    try:
        raw = urlsafe_b64decode(text)
        return cipher.decrypt(raw[:12], raw[12:], bound_to.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise VaultError(
            f"does not open with key {key_id!r}: changed, or moved from another row"
        ) from error


def digest(purpose: str, text: str) -> str:
    """A keyed SHA-256 of `text` (64 hex digits): equal texts are found by it, and it tells nothing
    without the pepper.
    """
    return hmac.digest(
        f"{purpose}:{settings.KEY_PEPPER}".encode(), text.encode("utf-8", "surrogatepass"), "sha256"
    ).hex()


def fingerprint(secret: str) -> str:
    """What makes two tokens the same token."""
    return digest("token", secret)


def mask(secret: str) -> str:
    """A form a person can recognise and nobody can use: `sk-abc…wxyz`; short secrets show less."""
    if len(secret) < 16:
        return f"{secret[:2]}…"
    return f"{secret[:6]}…{secret[-4:]}"
