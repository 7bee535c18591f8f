"""The rules that tokens and accounts must keep to be imported.

No reason repeats a character of the credential.
"""

from unicodedata import category

from django.conf import settings
from django.utils.translation import gettext_noop

from tokens.imports import line_parsing
from tokens.imports.formats.source_lines import FoundCredential, Login, MalformedLine
from tokens.imports.formats.token_text import is_heading

MIN_TOKEN_LENGTH = 4  # characters
MAX_TOKEN_LENGTH = 8_192
MAX_EMAIL_LENGTH = 254
TOO_LONG = gettext_noop("longer than 8192 characters")


def find_token_problem(token: str) -> str:
    """Return the reason why `token` cannot be a token, or an empty string."""
    if len(token) > MAX_TOKEN_LENGTH:
        return TOO_LONG
    if "\0" in token:
        return gettext_noop("has a NUL byte")
    if " " in token or "\t" in token:
        return gettext_noop("has a space inside")
    if not token.isascii() or not token.isprintable():
        return gettext_noop("has characters that no HTTP header can carry")
    return find_other_text(token)


def find_other_text(token: str) -> str:
    """Return the reason why a text of plain characters is no token, or an empty string."""
    if token[:1] in ("=", "@"):
        return gettext_noop("begins as a formula of a spreadsheet does")
    if "," in token:
        return gettext_noop("has a comma: tokens are imported one by one")
    if token[:1] in ("{", "["):
        return gettext_noop("is JSON")
    if line_parsing.ADDRESS_INSIDE.search(token):
        return gettext_noop("has an e-mail address, but is not email:password")
    if is_heading(token):
        return gettext_noop("is the heading of a column")
    if len(token) < MIN_TOKEN_LENGTH:
        return gettext_noop("too short")
    return ""


def find_login_problem(login: Login) -> str:
    """Return the reason why an account cannot be stored, or an empty string."""
    if len(login.email) > MAX_EMAIL_LENGTH:
        return gettext_noop("has an address longer than 254 characters")
    has_control = any(category(char) in ("Cc", "Cs") for char in login.password)
    if has_control or not login.email.isprintable():
        return gettext_noop("has control characters")
    if len(login.password) > MAX_TOKEN_LENGTH:
        return TOO_LONG
    return ""


def find_problem(credential: Login | str) -> str:
    """Return the reason why a credential cannot be imported, or an empty string."""
    if isinstance(credential, Login):
        return find_login_problem(credential)
    return find_token_problem(credential)


def parse_credentials(line: str) -> list[FoundCredential]:
    """Return the accounts and tokens of a line, with all of them checked. Raises MalformedLine."""
    if len(line) > settings.IMPORT_LINE_CHARS:
        raise MalformedLine(TOO_LONG)
    found = line_parsing.find_credentials(line)
    for one in found:
        if problem := find_problem(one.credential):
            raise MalformedLine(problem)
    return found
