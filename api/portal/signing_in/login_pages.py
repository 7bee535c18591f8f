"""Log in and out, and change the password. The locks of logins are those of the admin."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash, views
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from api.portal.portal_access import get_user, open_page, own_page, render_page
from api.portal.signing_in.password_reset import has_mail
from providers.admin.big_tables import record_in_history


class LoginPage(views.LoginView):
    """Django's page, which sends nobody to another site; answers are equal for unknown names."""

    template_name = "portal/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return context | {"has_mail": has_mail(), "has_sign_up": settings.PORTAL_SIGN_UP}


@open_page("GET", "POST")
def log_in(request: HttpRequest) -> HttpResponseBase:
    return LoginPage.as_view()(request)


@open_page("POST")
def log_out(request: HttpRequest) -> HttpResponseBase:
    return views.LogoutView.as_view(next_page="portal-login")(request)


@own_page("GET")
def show_account(request: HttpRequest) -> HttpResponseBase:
    """Show the user's name, team and rights."""
    user = get_user(request)
    membership = getattr(user, "team_membership", None)
    return render_page(
        request,
        "account",
        team=membership.team if membership is not None else None,
        roles=list(user.groups.values_list("name", flat=True)) if user.is_staff else [],
    )


@sensitive_post_parameters()
@own_page("GET", "POST")
def change_password(request: HttpRequest) -> HttpResponseBase:
    """Change the password; the user's other sessions end."""
    user = get_user(request)
    if not user.has_usable_password():  # the user logs in at another site
        raise Http404
    form = PasswordChangeForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        record_in_history(request, User.objects.filter(pk=user.pk), "Password changed.")
        form.save()
        update_session_auth_hash(request, user)
        messages.success(request, _("Your password was changed. Other sessions were ended."))
        return HttpResponseRedirect(reverse("portal-account"))
    return render_page(request, "password_change", form=form, section="portal-account")
