"""The API key of a session: it lives for minutes, and ends with the session.

Its text is derived from the session's secret id, so all tabs of a browser get the same key, reloads
make no further ones, and the text is stored nowhere. Deleting the session in any way (logout, an
operator who ends it, its expiry) revokes the key. The row of a key that has ended is used again for
the user's next session, so its limits and budgets go on and rows do not pile up. A user has at most
PLAYGROUND_MOST_KEYS of them at the same time: each has the limits of its source once more. One
session too many takes over the key that would end first.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from api import keys
from api.key_rights import limit_rows
from api.models import ApiKey
from api.models.api_key import SESSION_KEY_PREFIX
from api.playground.rights import PlaygroundRights

NOTE_KEY = "playground_key"  # session key: the note of the session's key
KEY_NAME = "playground"
BODY_CHARS = 43  # of a key, as many as other keys have
ENDPOINTS = ["/v1/*"]  # that the key may use: not those of staff
Note = dict[str, Any]  # `id` and `prefix` of the row, `nonce` of the text, `source`: a key's id


class SessionKey(NamedTuple):
    """A session's key: its text, and when it ends."""

    text: str
    expires_at: datetime


@transaction.atomic
def open_session_key(request: HttpRequest, rights: PlaygroundRights) -> SessionKey:
    """Return the key of the request's session; create it, or let it live longer.

    Writes the key, its limits, and a note about it in the session.
    """
    note = lock_note(request)
    row = find_session_row(request, note)
    if row is None:
        row, note = create_session_row(request, rights)
    elif note.get("source") != rights.source_id:
        note = {**note, "source": rights.source_id}
        replace_limits(row, rights)
    extend_key(request, row, rights)
    if request.session.get(NOTE_KEY) != note:
        request.session[NOTE_KEY] = note
        request.session.save()
    return SessionKey(derive_key(request, note["nonce"]), cast(datetime, row.expires_at))


def lock_note(request: HttpRequest) -> Note:
    """Lock the session's row, and return the note that it has about its key."""
    session_key = request.session.session_key
    row = Session.objects.select_for_update().filter(pk=session_key).first()
    note: Note = row.get_decoded().get(NOTE_KEY, {}) if row is not None else {}
    return note


def find_session_row(request: HttpRequest, note: Note) -> ApiKey | None:
    """Return the row of the key that the note names, unless it was revoked."""
    if not note:
        return None
    digest = keys.digest_key(derive_key(request, note["nonce"]))
    own = ApiKey.objects.filter(user=cast(User, request.user), revoked_at=None)
    return own.filter(pk=note["id"], digest=digest).first()


def create_session_row(request: HttpRequest, rights: PlaygroundRights) -> tuple[ApiKey, Note]:
    """Write the row of a new key of this session, and return it with its note."""
    user = cast(User, request.user)
    nonce = secrets.token_urlsafe(16)
    text = derive_key(request, nonce)
    row = find_free_row(user) or ApiKey(user=user, name=KEY_NAME)
    row.prefix = text[: keys.SHOWN_LENGTH]
    row.digest = keys.digest_key(text)
    row.revoked_at = None
    row.expires_at = timezone.now()
    row.save()
    replace_limits(row, rights)
    note = {"id": row.pk, "prefix": row.prefix, "nonce": nonce, "source": rights.source_id}
    return row, note


def find_free_row(user: User) -> ApiKey | None:
    """Return the row that a new key of the user takes over, or None where there may be another row.

    It is that of a key that has ended, or the one that ends first of PLAYGROUND_MOST_KEYS. The
    user's row stays locked, so that sessions that begin at the same moment make no row too many.
    """
    User.objects.select_for_update().get(pk=user.pk)
    own = ApiKey.objects.filter(user=user, prefix__startswith=SESSION_KEY_PREFIX)
    rows = list(own.select_for_update(of=("self",)).order_by("expires_at", "pk"))
    valid = [row for row in rows if row.revoked_at is None and not row.is_expired]
    ended = [row for row in rows if row not in valid]
    takes_over = len(valid) >= settings.PLAYGROUND_MOST_KEYS
    return next(iter([*ended, *valid] if takes_over else ended), None)


def extend_key(request: HttpRequest, row: ApiKey, rights: PlaygroundRights) -> None:
    """Write the rights of the key, and a later end when less than half of its life is left.

    It never lives longer than the session and the key whose rights it has.
    """
    now = timezone.now()
    life = timedelta(seconds=settings.PLAYGROUND_KEY_SECONDS)
    columns = rights.list_key_columns()
    ends = [now + life, request.session.get_expiry_date()]
    if rights.source is not None and rights.source.expires_at is not None:
        ends.append(rights.source.expires_at)
    end = min(ends)
    if row.expires_at is None or row.expires_at - now < life / 2 or row.expires_at > end:
        columns["expires_at"] = end
    changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
    if changed:
        ApiKey.objects.filter(pk=row.pk).update(**changed)
        for name, value in changed.items():
            setattr(row, name, value)


def replace_limits(row: ApiKey, rights: PlaygroundRights) -> None:
    """Write the limits of the session's key: those of the key whose rights it has."""
    row.limit_sets.all().delete()
    if rights.source is None:
        limit_rows.create_key_limits(row)
    else:
        limit_rows.copy_key_limits(rights.source, row)
    subject = {"key": row, "for_each_end_user": False}
    if not row.limit_sets.filter(for_each_end_user=False).exclude(allowed_endpoints=[]).exists():
        limit_rows.update_limits(subject, {"allowed_endpoints": ENDPOINTS})


def derive_key(request: HttpRequest, nonce: str) -> str:
    """Return the text of a session's key: 256 bits that depend on the session's secret id."""
    secret_text = f"{request.session.session_key}:{nonce}"
    digest = salted_hmac("api.playground", secret_text, algorithm="sha256").digest()
    number = int.from_bytes(digest, "big")
    body = ""
    for _ in range(BODY_CHARS):
        number, digit = divmod(number, len(keys.ALPHABET))
        body += keys.ALPHABET[digit]
    return f"{SESSION_KEY_PREFIX}{body}{keys.compute_checksum(body)}"


@receiver(post_delete, sender=Session)
def revoke_session_key(instance: Session, **signal: object) -> None:
    """Revoke the key of a session that was deleted."""
    note: Note = instance.get_decoded().get(NOTE_KEY, {})
    if note:
        ApiKey.objects.filter(pk=note["id"], prefix=note["prefix"]).revoke()


@receiver(post_save, sender=User)
def revoke_keys_after_new_password(instance: User, created: bool, **signal: object) -> None:
    """Revoke the keys of all sessions of a user whose password has changed.

    The other sessions have ended with it. The one that goes on gets another key.
    """
    # Django keeps the new password until the row is saved; a stronger digest of the old one is none
    if not created and getattr(instance, "_password", None) is not None:
        own = ApiKey.objects.filter(user=instance, prefix__startswith=SESSION_KEY_PREFIX)
        own.revoke()
