"""Issue, rotate and revoke a user's own keys, each with a note in the history."""

from django.conf import settings
from django.contrib.admin.models import ADDITION
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from api import one_time_forms
from api.key_rights.key_rotation import rotate_key
from api.keys import create_key
from api.models import ApiKey
from api.portal.own_keys import issuing_bounds
from api.portal.own_keys.key_forms import NewKeyForm, RotationForm
from providers.admin.big_tables import record_in_history


class TooManyKeys(Exception):
    """The user has PORTAL_MOST_KEYS valid keys."""


def issue_key(request: HttpRequest, user: User, form: NewKeyForm) -> tuple[ApiKey, str]:
    """Create the key of a valid form; return its row and its secret.

    Raises TooManyKeys, and FormAlreadyUsed when the form has issued its key.
    """
    values = form.cleaned_data
    limits, _exceeded = issuing_bounds.narrow_limits(form.read_chosen_limits())
    with transaction.atomic():
        require_room(user)
        one_time_forms.mark_used(request, values["form_number"])
        row, secret = create_key(
            user,
            name=values["name"],
            models=values["models"],
            limits=limits,
            default_model=values["default_model"],
            stores_content=values["stores_content"],
            remembers_sessions=values["remembers_sessions"],
            expires_at=form.read_expiry(),
        )
        record_in_history(
            request, ApiKey.objects.filter(pk=row.pk), "Issued in the portal.", ADDITION
        )
    return row, secret


def require_room(user: User) -> None:
    """Raise TooManyKeys unless the user may have another key; locks the user's row."""
    User.objects.select_for_update().get(pk=user.pk)
    if not issuing_bounds.count_keys_left(user):
        raise TooManyKeys


def may_overlap(user: User, key: ApiKey) -> bool:
    """Return whether an old secret may work beside the new one.

    It has the limits of the key once more, so that only those may who can issue keys, or whose key
    has no limits of its own.
    """
    return issuing_bounds.may_issue_keys(user) or not key.limit_sets.exists()


def rotate_own_key(request: HttpRequest, user: User, key: ApiKey, form: RotationForm) -> str:
    """Give the key of a valid form a new secret, and return it.

    Raises TooManyKeys, FormAlreadyUsed, KeyNotValid.
    """
    overlap = form.read_overlap()
    with transaction.atomic():
        if overlap:
            require_room(user)
        one_time_forms.mark_used(request, form.cleaned_data["form_number"])
        record_in_history(
            request, ApiKey.objects.filter(pk=key.pk), f"Rotated in the portal: overlap {overlap}."
        )
        _old, secret = rotate_key(key, overlap)
    key.refresh_from_db()
    return secret


def revoke_own_key(request: HttpRequest, key: ApiKey) -> bool:
    """Revoke the key; return whether it was not revoked before."""
    rows = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    with transaction.atomic():
        record_in_history(request, rows, "Revoked in the portal.")
        return bool(rows.revoke())


def explain_too_many_keys() -> str:
    return _("You have %(count)d valid keys, and may have no more: revoke one first.") % {
        "count": settings.PORTAL_MOST_KEYS
    }
