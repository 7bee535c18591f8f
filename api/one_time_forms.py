"""Forms that show a secret once: a form that is sent again issues no second key.

A form is sent again by a reload or a second click.
"""

import secrets

from django.contrib.sessions.models import Session
from django.http import HttpRequest

USED_FORMS_KEY = "used_forms"  # session key: the numbers of the last forms that issued an API key
REMEMBERED_FORMS = 50


class FormAlreadyUsed(Exception):
    """The form has issued its key."""


def generate_form_number() -> str:
    return secrets.token_urlsafe(16)


def is_used(request: HttpRequest, number: str) -> bool:
    return bool(number) and number in request.session.get(USED_FORMS_KEY, ())


def mark_used(request: HttpRequest, number: str) -> None:
    """Write to the session that this form has issued its key.

    The caller's transaction is open: the session's row stays locked until the key is written.
    Raises FormAlreadyUsed, also when the form was sent twice at the same moment.
    """
    if not number:
        return
    row = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
    used_numbers = []
    if row is not None:
        used_numbers = row.get_decoded().get(USED_FORMS_KEY, [])
    if number in used_numbers:
        raise FormAlreadyUsed
    request.session[USED_FORMS_KEY] = [*used_numbers, number][-REMEMBERED_FORMS:]
    request.session.save()
