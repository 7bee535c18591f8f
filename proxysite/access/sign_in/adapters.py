"""Our decisions in the sign-in of django-allauth: who may come in, where to, with which role."""

from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from providers import vault
from proxysite.access.sign_in import oidc_users
from proxysite.access.sign_in.second_step import mark_as_done
from proxysite.access.sign_in.secrets_owner import SECRETS_OWNER
from proxysite.desk.error_pages import render_error_page


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up, and nobody is told more than needed."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return "/admin/" if getattr(request.user, "is_staff", False) else "/"

    def is_safe_url(self, url: str | None) -> bool:
        """Return whether an address to go on to is one of this site."""
        if url is None:
            return False
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None) and not urlsplit(url).netloc

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing after a login: the page itself shows who is logged in."""


class OidcAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Each login by OpenID Connect finds or makes its user, and takes over the roles."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Join the login with a user and write his roles. Answers with a page where it must not."""
        claims = oidc_users.read_claims(sociallogin.account.extra_data)
        try:
            user = oidc_users.find_or_create_user(sociallogin, claims)
        except oidc_users.LoginRefused as error:
            page = render_error_page(request, 403, _("Not logged in"), str(error))
            raise ImmediateHttpResponse(page) from None
        if not sociallogin.is_existing:
            sociallogin.connect(request, user)
        oidc_users.update_roles(user, claims)
        sociallogin.user = user
        mark_as_done(request, user)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Any = None,
        extra_context: Any = None,
    ) -> None:
        """Answer with a page of our own; the cause is in the log alone."""
        oidc_users.logger.warning("login by OpenID Connect failed: %s %r", error, exception)
        text = _("The login at the other site did not work, or was cancelled. Try again.")
        raise ImmediateHttpResponse(render_error_page(request, 403, _("Not logged in"), text))


class TwoFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of authenticator apps are sealed like upstream tokens."""

    def encrypt(self, text: str) -> str:
        return vault.encrypt_secret(text, SECRETS_OWNER)

    def decrypt(self, encrypted_text: str) -> str:
        return vault.decrypt_secret(encrypted_text, SECRETS_OWNER)

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())
