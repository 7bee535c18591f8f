"""Give an API key a new secret, while the old one works a little longer."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from api import keys
from api.key_rights.limit_rows import copy_key_limits
from api.models import ApiKey

OLD_NAME = " (old secret)"
NAME_CHARS = 100
RIGHTS_COLUMNS = (
    "user_id",
    "allowed_models",
    "default_model",
    "stores_content",
    "remembers_sessions",
    "last_used_at",
)


class KeyNotValid(Exception):
    """The key was revoked or has expired: a new secret would bring it back."""


def rotate_key(key: ApiKey, overlap: timedelta) -> tuple[ApiKey, str]:
    """Give the key a new secret; return the row of the old secret, and the new secret.

    The row keeps its limits, budgets and usage records; the new secret cannot be shown again. The
    old secret becomes a key of its own, with the same rights and limits, which expires after
    `overlap`; without one it is revoked. Its budgets are counted apart. Raises KeyNotValid.
    """
    with transaction.atomic():
        row = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
        if row.revoked_at is not None or row.is_expired:
            raise KeyNotValid
        secret = keys.generate_key()
        old_prefix, old_digest = row.prefix, row.digest
        ApiKey.objects.filter(pk=row.pk).update(
            prefix=secret[: keys.SHOWN_LENGTH], digest=keys.digest_key(secret)
        )
        old = ApiKey.objects.create(
            name=f"{row.name[: NAME_CHARS - len(OLD_NAME)]}{OLD_NAME}",
            prefix=old_prefix,
            digest=old_digest,
            **find_end(row.expires_at, overlap),
            **{name: getattr(row, name) for name in RIGHTS_COLUMNS},
        )
        copy_key_limits(row, old)
    return old, secret


def find_end(expires_at: datetime | None, overlap: timedelta) -> dict[str, datetime | None]:
    """Return the columns that say when the old secret ends: never later than the key itself."""
    now = timezone.now()
    if not overlap:
        return {"revoked_at": now, "expires_at": expires_at}
    return {"expires_at": min(filter(None, (expires_at, now + overlap)))}
