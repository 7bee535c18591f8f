"""The pages of the second step: enter a code, set up an authenticator app, recovery codes."""

from base64 import b64encode
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, validate_totp_code
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from proxysite.access.sign_in.second_step import (
    StepLocked,
    check_code,
    find_app,
    find_missing_step,
    mark_as_done,
)
from proxysite.audit.audit_entry import AuditAction
from proxysite.audit.recording import record_deed
from proxysite.configuration.sign_in_settings import REQUIRED

NEW_SECRET_KEY = "new_app_secret"  # noqa: S105 - session key of the app that is being set up
LONGEST_CODE = 20


class CodeForm(forms.Form):
    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=LONGEST_CODE,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )


def find_next(request: HttpRequest, user: User) -> str:
    """Return the address to go on to: the wished one if it is of this site."""
    wished = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wished, allowed_hosts={request.get_host()}):
        return wished
    return reverse("admin:index") if user.is_staff else "/"


def render(request: HttpRequest, template: str, title: str, **context: object) -> HttpResponse:
    return TemplateResponse(request, f"sign_in/{template}", {"title": title, **context})


def add_code_error(form: CodeForm, user: User) -> bool:
    """Return whether the form's code is right; else write the error into the form."""
    try:
        if check_code(user, form.cleaned_data["code"]):
            return True
        form.add_error("code", _("This code is not right, or was used already."))
    except StepLocked as error:
        text = _("Too many wrong codes. Try again in %(seconds)d seconds.")
        form.add_error("code", text % {"seconds": error.seconds})
    return False


@never_cache
def enter_code(request: HttpRequest) -> HttpResponse:
    """Ask for the code after the password."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("admin:login"))
    user = request.user
    address = find_next(request, user)
    if find_missing_step(request.session, user) != "second-step":
        return HttpResponseRedirect(address)
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid() and add_code_error(form, user):
        request.session.cycle_key()
        mark_as_done(request, user)
        return HttpResponseRedirect(address)
    return render(request, "code.html", _("Second step"), form=form, next=address)


@never_cache
def set_up_app(request: HttpRequest) -> HttpResponse:
    """Show whether an app is set up, or set one up; the POST needs a code of the new app."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("admin:login"))
    user = request.user
    if find_app(user) is not None:
        if find_missing_step(request.session, user):
            return HttpResponseRedirect(reverse("second-step"))
        return render_state(request, user, CodeForm())
    secret = request.session.get(NEW_SECRET_KEY)
    if request.method != "POST" or not secret:
        secret = secret or generate_totp_secret()
        request.session[NEW_SECRET_KEY] = secret
        return render_set_up(request, user, secret, CodeForm())
    form = CodeForm(request.POST)
    if not form.is_valid():
        return render_set_up(request, user, secret, form)
    if not validate_totp_code(secret, form.cleaned_data["code"].replace(" ", "")):
        form.add_error("code", _("This code is not right. Check the clock of your phone."))
        return render_set_up(request, user, secret, form)
    return activate_app(request, user, secret, form.cleaned_data["code"])


def activate_app(request: HttpRequest, user: User, secret: str, code: str) -> HttpResponse:
    """Write the app and its recovery codes, which the answer shows once."""
    try:
        with transaction.atomic():
            TOTP.activate(user, secret)
            check_code(user, code)  # it counts as used
            codes = RecoveryCodes.activate(user)
    except IntegrityError:  # sent twice
        return HttpResponseRedirect(reverse("two-factor"))
    del request.session[NEW_SECRET_KEY]
    mark_as_done(request, user)
    record_deed(AuditAction.DONE, user, message=_("Authenticator app set up."))
    return render_codes(request, codes.get_unused_codes())


@never_cache
@require_POST
def remove_app(request: HttpRequest) -> HttpResponse:
    """Remove the app and its recovery codes; it needs a code."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("admin:login"))
    user = request.user
    form = CodeForm(request.POST)
    if find_app(user) is None or find_missing_step(request.session, user):
        return HttpResponseRedirect(reverse("two-factor"))
    if not form.is_valid() or not add_code_error(form, user):
        return render_state(request, user, form)
    Authenticator.objects.filter(user=user).delete()
    record_deed(AuditAction.DONE, user, message=_("Authenticator app removed."))
    messages.success(request, _("The authenticator app is removed."))
    return HttpResponseRedirect(reverse("two-factor"))


def render_set_up(request: HttpRequest, user: User, secret: str, form: CodeForm) -> HttpResponse:
    """Return the page with the secret as a picture and as a text."""
    adapter: Any = get_adapter()
    address = adapter.build_totp_url(user, secret)
    picture = b64encode(adapter.build_totp_svg(address).encode()).decode()
    return render(
        request,
        "set_up.html",
        _("Set up an authenticator app"),
        form=form,
        secret=" ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
        picture=f"data:image/svg+xml;base64,{picture}",
        is_required=settings.SIGN_IN.two_factor == REQUIRED and user.is_staff,
    )


def render_state(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    title = _("Two-factor login")
    return render(request, "state.html", title, form=form, app=find_app(user))


def render_codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    answer = render(request, "recovery_codes.html", _("Recovery codes"), codes=codes)
    answer.headers["Cache-Control"] = "no-store"
    return answer
