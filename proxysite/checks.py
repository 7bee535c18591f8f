"""System checks of the deployment: weak secrets and wildcard host names."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

SHORTEST_SECRET = 50
SHORTEST_PEPPER = 32
WEAK_PREFIXES = ("django-insecure", "changeme", "change-me", "secret", "password")


@register(Tags.security)
def check_secret_strength(**kwargs: object) -> list[CheckMessage]:
    """Report proxysite.E001 or E002 when SECRET_KEY or KEY_PEPPER is short or a known default."""
    problems: list[CheckMessage] = []
    if len(settings.SECRET_KEY) < SHORTEST_SECRET or settings.SECRET_KEY.lower().startswith(
        WEAK_PREFIXES
    ):
        problems.append(
            Error(
                f"SECRET_KEY must be random and have {SHORTEST_SECRET} characters or more.",
                id="proxysite.E001",
            )
        )
    if len(settings.KEY_PEPPER) < SHORTEST_PEPPER or settings.KEY_PEPPER.lower().startswith(
        WEAK_PREFIXES
    ):
        problems.append(
            Error(
                f"KEY_PEPPER must be random and have {SHORTEST_PEPPER} characters or more.",
                id="proxysite.E002",
            )
        )
    return problems


@register(Tags.security)
def check_allowed_hosts(**kwargs: object) -> list[CheckMessage]:
    """Report proxysite.E003 when every host name is allowed."""
    if "*" in settings.ALLOWED_HOSTS:
        return [Error("ALLOWED_HOSTS must name the hosts, not *.", id="proxysite.E003")]
    return []
