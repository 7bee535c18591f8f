"""Take quotes, names and notes off a token that stands in a text.

No function returns a reason with characters of the text.
"""

import csv
import re

# the lengths are bounded, as in e-mail addresses, so that no line takes long
EMAIL = r"[^\s:@,|;\"']{1,64}@[^\s:@,|;\"']{1,188}\.[^\s:@,|;\"'-]{1,63}"
WHOLE_EMAIL = re.compile(EMAIL)
NAMED_TOKEN = re.compile(
    r"(?:(?:export|authorization:|cookie:|set-cookie:)\s*)*"
    r"(?:bearer\s+|(?P<name>kimi-auth|kimi_tokens?|k2think_tokens?|tokens?|access_token|"
    r"refresh_token|authorization|api_?key|jwt)\s*[=:]\s*)(?:bearer\s+)?(?P<rest>\S.*)",
    re.IGNORECASE,
)
COOKIE_TOKEN = re.compile(r"(?:^|[;\s])(?:kimi-auth|token)=(?P<token>[^;\s]+)")
COOKIE_NAMES = ("kimi-auth", "token")
COLUMN_NAMES = frozenset(
    "token tokens key keys api_key apikey api-key secret access_token refresh_token".split()
)
ACCOUNT_COLUMN_NAMES = frozenset(
    "email e-mail mail user username account password k2_password pass pw".split()
)


def strip_quotes(line: str) -> str:
    """Return the line without blanks and without quotes around it or around its cells.

    A comma behind a quoted or JSON value belongs to a list that was taken apart.
    """
    text = line.strip()
    if text.endswith(",") and text[-2:-1] in ('"', "'", "}"):
        text = text[:-1].rstrip()
    if text.startswith('"') and '","' in text:
        return ",".join(next(csv.reader([text])))
    if len(text) > 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"').strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'`":
        return text[1:-1].strip()
    return text


def is_heading(text: str) -> bool:
    """Return whether the words of a line are names of columns."""
    words = set(re.split(r"----|[,|;:\t]", text.lower()))
    has_account_names = len(words) > 1 and words <= ACCOUNT_COLUMN_NAMES | COLUMN_NAMES
    return text.lower() in COLUMN_NAMES or has_account_names


def strip_name(text: str) -> str:
    """Return the token behind a name such as `Bearer` or `kimi-auth=`, or of a cookie."""
    cookie = COOKIE_TOKEN.search(text) if "=" in text else None
    if cookie is not None:
        return cookie["token"]
    named = NAMED_TOKEN.fullmatch(text)
    return strip_quotes(named["rest"]) if named is not None else text
