"""The addresses of the sign-in: few of django-allauth's, and our own pages.

Django-allauth also has pages to sign up, to change addresses and to connect accounts. They are left
out: users are made by staff. The names that its code redirects to lead to the login page.
"""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import include, path, reverse
from django.utils.translation import gettext as _

from proxysite.access.sign_in import second_step_pages as pages
from proxysite.desk.error_pages import render_error_page


def redirect_to_login(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:login"))


def answer_blocked(request: HttpRequest) -> HttpResponse:
    text = _("Your account is blocked.")
    return render_error_page(request, 403, _("Not logged in"), text)


def answer_failed(request: HttpRequest) -> HttpResponse:
    text = _("The login at the other site did not work, or was cancelled. Try again.")
    return render_error_page(request, 403, _("Not logged in"), text)


urlpatterns = [
    path("", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("login/", redirect_to_login, name="account_login"),
    path("signup/", redirect_to_login, name="account_signup"),
    path("social/signup/", redirect_to_login, name="socialaccount_signup"),
    path("inactive/", answer_blocked, name="account_inactive"),
    path("failed/", answer_failed, name="socialaccount_login_error"),
    path("cancelled/", answer_failed, name="socialaccount_login_cancelled"),
    path("second-step/", pages.enter_code, name="second-step"),
    path("two-factor/", pages.set_up_app, name="two-factor"),
    path("two-factor/remove/", pages.remove_app, name="two-factor-remove"),
]
