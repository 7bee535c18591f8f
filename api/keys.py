"""API keys: made once, shown once, found again by their digest.

A key is `sk-ps-`, 43 random base62 characters and 6 that check them (CRC-32), so that scanners can
recognise a leaked one.
"""

import secrets
import string
import zlib
from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from api.key_rights.limit_rows import create_key_limits
from api.limits.access import matches_any
from api.limits.limit_texts import Columns
from api.models import ApiKey
from providers import vault
from providers.models import ChatModel, ModelAlias, VirtualModel

KEY_PREFIX = "sk-ps-"
ALPHABET = string.digits + string.ascii_letters
# beginning of a key, stored in clear for recognition; ten random characters do not collide
SHOWN_LENGTH = 16
WILDCARD = "*"  # in a list of models: any characters
SHORTEST_KEY_CHARS = 8  # of a key that a person chose
LONGEST_KEY_CHARS = 512


def generate_key() -> str:
    """Return a new random key of 256 bits."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(43))
    return f"{KEY_PREFIX}{body}{compute_checksum(body)}"


def compute_checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits += ALPHABET[digit]
    return digits


def digest_key(key: str) -> str:
    """Return the keyed digest of a key, which is stored instead of the key."""
    return vault.make_digest("key", key)


def add_existing_key(
    user: User, key: str, *, name: str = "", limits: Columns | None = None, **fields: Any
) -> ApiKey:
    """Write the row of a key that exists already, of any format, and return it.

    `limits` are columns of its limits; None: those of the setting DEFAULT_KEY_LIMITS. `fields` are
    further columns. A key that is known stays unchanged, revoked or not.
    """
    digest = digest_key(key)
    prefix = f"{key[:4]}…{digest[: SHOWN_LENGTH - 5]}"  # a short key must not be shown whole
    with transaction.atomic():
        row, is_new = ApiKey.objects.get_or_create(
            digest=digest, defaults={"user": user, "name": name, "prefix": prefix, **fields}
        )
        if is_new:
            create_key_limits(row, limits)
    return row


def find_key_row(key: str) -> ApiKey | None:
    """Return the row of this key, revoked or not; None when it is not known."""
    return ApiKey.objects.filter(digest=digest_key(key)).first()


def find_key_problem(key: str) -> str:
    """Return why a text cannot be an API key, or an empty string; it needs no particular format."""
    if len(key) < SHORTEST_KEY_CHARS:
        return f"it is shorter than {SHORTEST_KEY_CHARS} characters"
    if len(key) > LONGEST_KEY_CHARS:
        return f"it is longer than {LONGEST_KEY_CHARS} characters"
    if not key.isascii() or not key.isprintable() or " " in key or "," in key:
        return "it has characters that no client can send as a key"
    return ""


def find_allowable_models() -> set[str]:
    """Return every model name that a key may be limited to: models, virtual models and aliases.

    Disabled models and models of disabled providers count too, because they can be enabled later.
    """
    querysets = (
        ChatModel.objects.values_list("public_id", flat=True),
        VirtualModel.objects.values_list("public_id", flat=True),
        ModelAlias.objects.values_list("alias", flat=True),
    )
    return {name for names in querysets for name in names}


def find_unknown_models(allowed_models: Collection[str]) -> list[str]:
    """Return the names of a list that no model has, and the patterns that match none."""
    existing = find_allowable_models()
    return sorted(
        name
        for name in set(allowed_models)
        if not any(matches_any((name,), model) for model in existing)
    )


def find_default_model_problem(name: str, allowed_models: Collection[str]) -> str:
    """Return why a key cannot have this model as its default, or an empty string."""
    if not name:
        return ""
    if name not in find_allowable_models():
        return f"There is no model {name!r}."
    if allowed_models and not matches_any(tuple(allowed_models), name):
        return f"The key may not use its default model {name!r}."
    return ""


def create_key(
    user: User,
    *,
    name: str = "",
    models: Iterable[str] = (),
    limits: Columns | None = None,
    **fields: Any,
) -> tuple[ApiKey, str]:
    """Create a key for `user` and return its row and the key, which cannot be shown again.

    `models` are the models that it may use, with `*` for any characters. `limits` are columns of
    its limits; None: those of the setting DEFAULT_KEY_LIMITS. `fields` are further columns.
    """
    key = generate_key()
    with transaction.atomic():
        row = ApiKey.objects.create(
            user=user,
            name=name,
            prefix=key[:SHOWN_LENGTH],
            digest=digest_key(key),
            allowed_models=list(models),
            **fields,
        )
        create_key_limits(row, limits)
    return row, key
