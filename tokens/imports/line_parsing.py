"""Parse one line of a file of tokens or accounts, in the forms that people and programs write.

Accounts: `email:password`, `email----password`, with `,`, `|`, `;` or a tab between, or a JSON
object with `email` and `password` (`k2_password` in the K2Think proxy's forks). Tokens: bare, in
quotes, behind `Bearer`, `kimi-auth=` or another name, in a cookie, before ` # a note`, several
separated by commas, as JSON. A line that is none of these is refused, so that nothing else is ever
sent to an upstream as a token. No reason repeats a character of the line.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# the lengths are bounded, as in e-mail addresses, so that no line takes long
EMAIL = r"[^\s:@,|;\"']{1,64}@[^\s:@,|;\"']{1,188}\.[^\s:@,|;\"'-]{1,63}"
ACCOUNT_LINE = re.compile(rf"(?P<email>{EMAIL})\s{{0,9}}(?:----|[:,|;\t])(?P<password>.+)")
WHOLE_EMAIL = re.compile(EMAIL)
ADDRESS_INSIDE = re.compile(r"[^\s@]@[^\s@.]{1,63}\.[^\s@]")
NAMED_TOKEN = re.compile(
    r"(?:(?:export|authorization:|cookie:|set-cookie:)\s*)*"
    r"(?:bearer\s+|(?P<name>kimi-auth|kimi_tokens?|k2think_tokens?|tokens?|access_token|"
    r"refresh_token|authorization|api_?key|jwt)\s*[=:]\s*)(?:bearer\s+)?(?P<rest>\S.*)",
    re.IGNORECASE,
)
COOKIE_TOKEN = re.compile(r"(?:^|[;\s])(?:kimi-auth|token)=(?P<token>[^;\s]+)")
COMMENT = re.compile(r"\s#.*")
COLUMN_NAMES = frozenset(
    "token tokens key keys api_key apikey api-key secret access_token refresh_token".split()
)
ACCOUNT_COLUMN_NAMES = frozenset(
    "email e-mail mail user username account password k2_password pass pw".split()
)
EMAIL_FIELDS = ("email", "mail", "username", "user", "account")
PASSWORD_FIELDS = ("k2_password", "password", "passwd", "pass", "pwd")
TOKEN_FIELDS = ("refresh_token", "access_token", "token", "kimi-auth", "api_key", "key")
COOKIE_NAMES = ("kimi-auth", "token")
LONG_TOKEN_CHARS = 20  # a word that is as long is hardly a name of something
SHARED_BEGINNING_CHARS = 3


class Login(NamedTuple):
    email: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.email})"


class MalformedLine(Exception):
    """A line that holds no credential; the message says why, without any of its characters."""


def parse_line(line: str) -> list[Login | str]:
    """Return the accounts and tokens of a line; none for a blank line or a comment.

    Raises MalformedLine. The tokens are not checked yet.
    """
    text = strip_quotes(line)
    if not text or text.startswith("#") or text in "[]":
        return []
    if is_heading(text):
        raise MalformedLine("is the heading of a column")
    if text[0] in "{[":
        return parse_json_line(text)
    login = parse_login(text)
    if login is not None:
        return [login]
    return [*parse_tokens(text)]


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


def parse_login(line: str) -> Login | None:
    """Parse an account, for example `email:password`; None for anything else.

    Raises MalformedLine on two addresses: which of them is a password cannot be known.
    """
    match = ACCOUNT_LINE.fullmatch(line)
    if match is None or not match["password"].strip():
        return None
    password = match["password"].strip()
    if len(password) > 2 and password[0] == password[-1] == '"':
        password = password[1:-1]
    if WHOLE_EMAIL.fullmatch(password):
        raise MalformedLine("has two e-mail addresses and no password")
    return Login(match["email"].lower(), password)


def parse_tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a line. Raises MalformedLine."""
    text = strip_name(COMMENT.sub("", text, count=1).rstrip())
    parts = [strip_name(strip_quotes(part)) for part in text.split(",") if part.strip()]
    if len(parts) > 1 and not are_of_one_kind(parts):
        raise MalformedLine("has a comma, and its parts are not tokens of one kind")
    yield from parts


def strip_name(text: str) -> str:
    """Return the token behind a name such as `Bearer` or `kimi-auth=`, or of a cookie."""
    cookie = COOKIE_TOKEN.search(text) if "=" in text else None
    if cookie is not None:
        return cookie["token"]
    named = NAMED_TOKEN.fullmatch(text)
    return strip_quotes(named["rest"]) if named is not None else text


def are_of_one_kind(parts: list[str]) -> bool:
    """Return whether the parts are several tokens, and not a token beside the name of somebody."""
    beginnings = {part[:SHARED_BEGINNING_CHARS] for part in parts}
    return len(beginnings) == 1 or min(map(len, parts)) >= LONG_TOKEN_CHARS


# --- JSON -----------------------------------------------------------------------------------------
def expand_json(lines: list[str]) -> list[str]:
    """Return a line for each entry of a file that is one JSON list; other lines as they are.

    The list may also be the only value of an object.
    """
    first_line = next((line.strip() for line in lines if line.strip()), "")
    if not first_line.startswith(("[", "{")):
        return lines
    try:
        content = json.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return lines
    if isinstance(content, dict) and len(content) == 1:
        content = next(iter(content.values()))
    if not isinstance(content, list):
        return [json.dumps(content, ensure_ascii=False)]
    return [json.dumps(entry, ensure_ascii=False) for entry in content]


def parse_json_line(text: str) -> list[Login | str]:
    """Return the credentials of a JSON value. Raises MalformedLine."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedLine("is no valid JSON") from None
    entries = content if isinstance(content, list) else [content]
    return [read_json_entry(entry) for entry in entries]


def read_json_entry(entry: object) -> Login | str:
    """Return the account or token of one JSON value. Raises MalformedLine."""
    if isinstance(entry, str) and entry.strip():
        return strip_name(entry.strip())
    if not isinstance(entry, dict):
        raise MalformedLine("is JSON without a token or an account")
    password = read_first_text(entry, PASSWORD_FIELDS)
    if password:
        email = read_first_text(entry, EMAIL_FIELDS).strip()
        if not WHOLE_EMAIL.fullmatch(email):
            raise MalformedLine("is an account without an e-mail address")
        return Login(email.lower(), password)
    token = read_first_text(entry, TOKEN_FIELDS)
    if not token and entry.get("name") in COOKIE_NAMES:
        token = read_first_text(entry, ("value",))
    if not token:
        raise MalformedLine("is JSON without a token or an account")
    return strip_name(token.strip())


def read_first_text(entry: Mapping[str, object], names: tuple[str, ...]) -> str:
    """Return the first of these fields that has a text, or an empty string."""
    values = (entry.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")
