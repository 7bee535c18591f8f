"""Create one's own account: with an invitation's link, or by signing up where that is allowed."""

from django.conf import settings
from django.contrib.auth import login
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from api.invitations import accounts
from api.invitations.accounts import InvitationClosed, NewAccount, TooManySignUps
from api.invitations.invitation_links import find_open_invitation
from api.models import Invitation
from api.portal.own_keys.issued_key import render_issued_key
from api.portal.portal_access import open_page, render_page
from api.portal.signing_in.account_forms import AccountForm

BACKEND = "django.contrib.auth.backends.ModelBackend"
BUSY_STATUS = 429


@sensitive_post_parameters()
@open_page("GET", "POST")
def join(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show the form of an invitation, and create the account; a GET uses nothing up."""
    invitation = find_open_invitation(token)
    if invitation is None:
        return render_page(request, "invitation_closed", status=404)
    if request.user.is_authenticated:
        return render_page(request, "join_logged_in")
    form = AccountForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            return create_account(request, invitation, form.read_account())
        except InvitationClosed:
            return render_page(request, "invitation_closed", status=404)
        except IntegrityError:
            form.add_error("username", _("A user with that username already exists."))
    return render_page(request, "join", form=form, invitation=invitation)


def create_account(
    request: HttpRequest, invitation: Invitation, account: NewAccount
) -> HttpResponseBase:
    """Create the account and log it in; the first key is in this answer and nowhere else."""
    user, secret = accounts.create_invited_user(invitation, account)
    login(request, user, backend=BACKEND)
    if not secret:
        return HttpResponseRedirect(reverse("portal-home"))
    return render_issued_key(request, user.api_keys.get(), secret, is_first=True)


@sensitive_post_parameters()
@open_page("GET", "POST")
def sign_up(request: HttpRequest) -> HttpResponseBase:
    """Create an account for anybody, where PORTAL_SIGN_UP allows it."""
    if not settings.PORTAL_SIGN_UP:
        raise Http404
    if request.user.is_authenticated:
        return HttpResponseRedirect(reverse("portal-home"))
    form = AccountForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            user = accounts.create_signed_up_user(form.read_account())
            login(request, user, backend=BACKEND)
            return HttpResponseRedirect(reverse("portal-home"))
        except IntegrityError:
            form.add_error("username", _("A user with that username already exists."))
        except TooManySignUps:
            form.add_error(None, _("Too many people sign up at the moment. Try again later."))
            status = BUSY_STATUS
    return render_page(request, "sign_up", status=status, form=form)
