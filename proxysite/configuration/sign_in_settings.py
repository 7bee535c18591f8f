"""Django's settings of the optional sign-in: OpenID Connect and codes of an authenticator app.

Both need the packages of requirements/sign-in.txt. Where neither is switched on, nothing of them is
imported and no table is made. No Django in here.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from proxysite.configuration.declarations import Environment

APPS = (
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
)
OFF = "off"
OPTIONAL = "optional"
REQUIRED = "required"
PROVIDER_ID = "oidc"  # in the addresses of the sign-in


@dataclass(frozen=True, slots=True)
class SignIn:
    """The values of the settings."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    scopes: list[str]
    two_factor: str

    @property
    def is_enabled(self) -> bool:
        return bool(self.issuer) or self.has_two_factor

    @property
    def has_two_factor(self) -> bool:
        return self.two_factor != OFF


def declare_sign_in(env: Environment) -> SignIn:
    """Read the settings; a combination that cannot work becomes a problem of `env`."""
    sign_in = SignIn(
        env.read_url(
            "OIDC_ISSUER",
            "",
            "Address of an OpenID Connect provider that people log in with; empty: none.",
            schemes=("https", "http"),
        ).rstrip("/"),
        env.read_plain_text("OIDC_CLIENT_ID", "", "Name of this gateway at the provider."),
        env.read_secret("OIDC_CLIENT_SECRET", "Secret of this gateway at the provider."),
        env.read_plain_text("OIDC_NAME", "Single sign-on", "Text of the button on the login page."),
        env.read_names(
            "OIDC_SCOPES", ["openid", "profile", "email"], "Scopes that the provider is asked for."
        ),
        env.read_choice(
            "TWO_FACTOR",
            OFF,
            "Codes of an authenticator app after the password: off, optional, required for staff.",
            values=(OFF, OPTIONAL, REQUIRED),
        ),
    )
    if sign_in.issuer and not sign_in.client_id:
        env.add_problem("OIDC_CLIENT_ID: it is needed with OIDC_ISSUER.")
    if sign_in.is_enabled and find_spec("allauth") is None:
        env.add_problem(
            "OIDC_ISSUER and TWO_FACTOR need more packages: install requirements/sign-in.txt."
        )
    return sign_in


def build_sign_in_settings(sign_in: SignIn) -> dict[str, Any]:
    """Return Django's settings of the packages; none where the sign-in is off."""
    if not sign_in.is_enabled:
        return {}
    return {
        "ACCOUNT_ADAPTER": "proxysite.access.sign_in.adapters.AccountAdapter",
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "SOCIALACCOUNT_ADAPTER": "proxysite.access.sign_in.adapters.OidcAdapter",
        "SOCIALACCOUNT_EMAIL_VERIFICATION": "none",
        # a link, not a form: the policy of our pages lets no form lead to another site
        "SOCIALACCOUNT_LOGIN_ON_GET": True,
        "SOCIALACCOUNT_PROVIDERS": build_providers(sign_in),
        "MFA_ADAPTER": "proxysite.access.sign_in.adapters.TwoFactorAdapter",
        "MFA_TOTP_ISSUER": "proxysite",
        "MFA_TOTP_TOLERANCE": 1,  # a code of half a minute earlier or later counts, too
    }


def build_providers(sign_in: SignIn) -> dict[str, Any]:
    if not sign_in.issuer:
        return {}
    app = {
        "provider_id": PROVIDER_ID,
        "name": sign_in.name,
        "client_id": sign_in.client_id,
        "secret": sign_in.client_secret,
        "settings": {"server_url": sign_in.issuer},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "SCOPE": sign_in.scopes, "APPS": [app]}}
