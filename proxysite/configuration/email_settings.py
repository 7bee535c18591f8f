"""Django's settings of the mail server, from the setting EMAIL_URL. No Django in here."""

from typing import Any

import environ

from proxysite.configuration.declarations import Environment

PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
FORMS = "a URL that begins with smtp://, smtp+tls:// or smtp+ssl://, with a host"
OPTIONS = ("EMAIL_HOST", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_BACKEND")
OPTIONS_WITH_DEFAULT = ("EMAIL_USE_TLS", "EMAIL_USE_SSL")


def read_mail_server(env: Environment, url: str) -> dict[str, Any]:
    """Return Django's EMAIL_… settings; without a URL none, as no e-mail is sent then.

    A URL that cannot be used becomes a problem of `env`; it is not repeated, because it may hold a
    password.
    """
    if not url:
        return {}
    try:
        config: dict[str, Any] = environ.Env.email_url_config(url)
    except (environ.ImproperlyConfigured, ValueError):
        config = {}
    scheme = url.partition("://")[0]
    if scheme not in PORTS or not config.get("EMAIL_HOST"):
        env.add_problem(f"EMAIL_URL: its value is not {FORMS}.")
        return {}
    settings = {name: config[name] or "" for name in OPTIONS}
    settings |= {name: bool(config.get(name)) for name in OPTIONS_WITH_DEFAULT}
    return settings | {"EMAIL_PORT": config["EMAIL_PORT"] or PORTS[scheme]}
