"""A form that shows a secret once is used once: sent again, by a reload or a second click, it makes
no second key.
"""

import secrets

from django.contrib.sessions.models import Session
from django.http import HttpRequest

USED = "used_forms"  # in the session: the numbers of the last forms that issued a key
REMEMBERED = 50


class UsedAlready(Exception):
    """The form has issued its key."""


def new_number() -> str:
    return secrets.token_urlsafe(16)


def is_used(request: HttpRequest, number: str) -> bool:
    return bool(number) and number in request.session.get(USED, ())


def mark_used(request: HttpRequest, number: str) -> None:
    """Write that this form has issued its key. Raises UsedAlready, also when it was sent twice at
    the same moment.

    The caller's transaction is open: the session's row stays locked until the key is written.
    """
    if not number:
        return
    row = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
    used = row.get_decoded().get(USED, []) if row is not None else []
    if number in used:
        raise UsedAlready
    request.session[USED] = [*used, number][-REMEMBERED:]
    request.session.save()
