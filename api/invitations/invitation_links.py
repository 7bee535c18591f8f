"""The secrets of invitations: shown once in a link, stored as a digest."""

import re
import secrets

from django.urls import reverse

from api.models import Invitation
from providers import vault

TOKEN_BYTES = 32
SHOWN_CHARS = 6  # of a token, stored in clear for recognition
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def give_secret(invitation: Invitation) -> str:
    """Set the secret of an invitation that is not saved yet, and return it."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation.digest = digest_token(token)
    invitation.prefix = token[:SHOWN_CHARS]
    return token


def digest_token(token: str) -> str:
    return vault.make_digest("invitation", token)


def make_link_path(token: str) -> str:
    """Return the path of the page on which the invited person creates the account."""
    return reverse("portal-join", args=[token])


def find_open_invitation(token: str) -> Invitation | None:
    """Return the invitation of a link that can be used now, or None, whatever the reason is."""
    if not TOKEN.fullmatch(token):
        return None
    rows = Invitation.objects.filter_open().select_related("team", "role")
    return rows.filter(digest=digest_token(token)).first()
