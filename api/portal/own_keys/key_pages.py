"""The pages of the user's own keys."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from api.key_rights.key_rotation import KeyNotValid
from api.models import ApiKey
from api.one_time_forms import FormAlreadyUsed
from api.portal.own_keys import issuing_bounds, key_deeds
from api.portal.own_keys.issued_key import render_issued_key
from api.portal.own_keys.key_deeds import TooManyKeys
from api.portal.own_keys.key_forms import NewKeyForm, RotationForm
from api.portal.own_keys.key_lines import describe_keys
from api.portal.portal_access import get_user, own_page, render_page

KEYS_SHOWN = 100
LAST_ID = 2**63 - 1


def find_own_key(request: HttpRequest, key_id: int) -> ApiKey:
    """Return a key of the user; another user's key is as unknown as one that does not exist."""
    own = issuing_bounds.list_own_keys(get_user(request))
    key = own.filter(pk=min(key_id, LAST_ID)).first()
    if key is None:
        raise Http404
    return key


@own_page("GET")
def list_keys(request: HttpRequest) -> HttpResponseBase:
    user = get_user(request)
    keys = list(issuing_bounds.list_own_keys(user)[: KEYS_SHOWN + 1])
    return render_page(
        request,
        "keys",
        lines=describe_keys(request, user, keys[:KEYS_SHOWN]),
        has_more=len(keys) > KEYS_SHOWN,
        keys_left=issuing_bounds.count_keys_left(user),
    )


@own_page("GET", "POST")
def issue_key(request: HttpRequest) -> HttpResponseBase:
    """Show the form of a new key, or issue the key and show it this one time."""
    user = get_user(request)
    if not issuing_bounds.may_issue_keys(user):
        raise PermissionDenied
    form = NewKeyForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            key, secret = key_deeds.issue_key(request, user, form)
            return render_issued_key(request, key, secret)
        except TooManyKeys:
            form.add_error(None, key_deeds.explain_too_many_keys())
        except FormAlreadyUsed:
            return warn_of_used_form(request)
    return render_page(
        request,
        "key_new",
        form=form,
        keys_left=issuing_bounds.count_keys_left(user),
        section="portal-keys",
    )


@own_page("GET")
def show_key(request: HttpRequest, key_id: int) -> HttpResponseBase:
    key = find_own_key(request, key_id)
    return render_key(request, key, make_rotation_form(request, key))


def render_key(request: HttpRequest, key: ApiKey, form: RotationForm) -> HttpResponseBase:
    (line,) = describe_keys(request, get_user(request), [key])
    return render_page(
        request,
        "key",
        line=line,
        key=key,
        form=form,
        access=list(key.limit_sets.filter(for_each_end_user=False)),
        section="portal-keys",
    )


def make_rotation_form(request: HttpRequest, key: ApiKey) -> RotationForm:
    return RotationForm(
        request.POST if request.method == "POST" else None,
        may_overlap=key_deeds.may_overlap(get_user(request), key),
    )


@own_page("POST")
def rotate_key(request: HttpRequest, key_id: int) -> HttpResponseBase:
    """Give the key a new secret and show it this one time."""
    key = find_own_key(request, key_id)
    form = make_rotation_form(request, key)
    if form.is_valid():
        try:
            secret = key_deeds.rotate_own_key(request, get_user(request), key, form)
            return render_issued_key(request, key, secret, is_rotated=True)
        except TooManyKeys:
            form.add_error(None, key_deeds.explain_too_many_keys())
        except KeyNotValid:
            form.add_error(None, _("The key is revoked or has expired."))
        except FormAlreadyUsed:
            return warn_of_used_form(request)
    return render_key(request, key, form)


@own_page("POST")
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponseBase:
    key = find_own_key(request, key_id)
    if key_deeds.revoke_own_key(request, key):
        messages.success(request, _("The key %(key)s was revoked.") % {"key": key})
    return HttpResponseRedirect(reverse("portal-keys"))


def warn_of_used_form(request: HttpRequest) -> HttpResponseBase:
    text = _("This form was sent twice. If you did not see the key, revoke it and issue another.")
    messages.warning(request, text)
    return HttpResponseRedirect(reverse("portal-keys"))
