"""Set a new password by e-mail, for those who forgot theirs; needs EMAIL_URL.

The page answers every address alike and at once: the worker looks for the user and sends the
e-mail, and makes the link, so that no queue has it.
"""

import logging

from celery import current_app
from django.conf import settings
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm
from django.core.cache import cache
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse_lazy
from django.utils import translation
from kombu.exceptions import OperationalError

from api.portal.portal_access import open_page, render_page

logger = logging.getLogger("audit")
TASK_NAME = "api.tasks.send_password_reset"


def has_mail() -> bool:
    """Return whether the gateway can send e-mails."""
    return bool(settings.EMAIL_URL)


@open_page("GET", "POST")
def ask_for_reset(request: HttpRequest) -> HttpResponseBase:
    """Take an e-mail address; the answer does not depend on whether a user has it."""
    if not has_mail():
        raise Http404
    form = PasswordResetForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return render_page(request, "password_reset", form=form)
    send_reset_task(request, form.cleaned_data["email"])
    return render_page(request, "password_reset", was_sent=True)


def send_reset_task(request: HttpRequest, email: str) -> None:
    """Ask the worker for the e-mail; without a worker it is logged, and the answer is the same."""
    arguments = (email, request.get_host(), request.is_secure(), translation.get_language())
    try:
        current_app.send_task(TASK_NAME, args=arguments, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("an e-mail for a new password was not queued: %s", type(error).__name__)


class OnceFormPerUser(PasswordResetForm):
    """Django's form, which sends a user at most one e-mail within PORTAL_RESET_PAUSE_SECONDS."""

    def get_users(self, email: str):  # type: ignore[no-untyped-def]
        pause_seconds = settings.PORTAL_RESET_PAUSE_SECONDS
        for user in super().get_users(email):
            if cache.add(f"password-reset-{user.pk}", 1, pause_seconds):
                logger.info("an e-mail for a new password is sent to the user %d", user.pk)
                yield user


def send_password_reset(email: str, host: str, is_secure: bool, language: str | None) -> bool:
    """Send the e-mails for this address; return whether the address could be read."""
    form = OnceFormPerUser({"email": email})
    if not form.is_valid():
        return False
    with translation.override(language):
        form.save(
            domain_override=host,
            use_https=is_secure,
            subject_template_name="portal/password_reset_subject.txt",
            email_template_name="portal/password_reset_email.txt",
        )
    return True


class ResetPage(views.PasswordResetConfirmView):
    """Django's page for the new password; the link works once."""

    template_name = "portal/password_reset_confirm.html"
    success_url = reverse_lazy("portal-login")


@open_page("GET", "POST")
def set_new_password(request: HttpRequest, uidb64: str, token: str) -> HttpResponseBase:
    if not has_mail():
        raise Http404
    return ResetPage.as_view()(request, uidb64=uidb64, token=token)
