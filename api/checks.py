"""System checks of the settings of alerts."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from api.alerts import webhook


@register()
def check_alert_settings(**kwargs: object) -> list[CheckMessage]:
    """Report api.E001 when the webhook of alerts cannot be used, api.E002 when e-mails cannot."""
    problems: list[CheckMessage] = []
    if problem := webhook.find_settings_problem():
        problems.append(Error(problem, id="api.E001"))
    if settings.ALERT_EMAILS and not settings.EMAIL_URL:
        text = "ALERT_EMAILS needs EMAIL_URL, the mail server."
        problems.append(Error(text, id="api.E002"))
    return problems
