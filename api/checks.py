"""System checks of the settings of alerts and of limits."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from api.alerts import webhook
from api.key_rights import limit_rows


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


@register()
def check_default_limits(**kwargs: object) -> list[CheckMessage]:
    """Report api.E003 when DEFAULT_KEY_LIMITS cannot be read."""
    if problem := limit_rows.find_default_limits_problem():
        return [Error(f"DEFAULT_KEY_LIMITS: {problem}", id="api.E003")]
    return []
