"""Parse one line of a file of tokens or accounts, in the forms that people and programs write.

Accounts: `email:password`, `email----password`, with `,`, `|`, `;` or a tab between, further
columns behind them, or a JSON object with `email` and `password` (`k2_password` in the K2Think
proxy's forks). Tokens: bare, in quotes, behind `Bearer`, `kimi-auth=` or another name, in a cookie,
before ` # a note`, several separated by commas, as JSON. A line that is none of these is refused,
so that nothing else is ever sent to an upstream as a token. No reason repeats a character of the
line.
"""

import json
import re
from collections.abc import Iterator

from tokens.imports.formats import json_documents
from tokens.imports.formats.source_lines import FoundCredential, Login, MalformedLine
from tokens.imports.formats.token_text import (
    EMAIL,
    WHOLE_EMAIL,
    is_heading,
    strip_name,
    strip_quotes,
)

__all__ = ["Login", "MalformedLine", "find_credentials", "parse_line"]

ACCOUNT_LINE = re.compile(
    rf"(?P<email>{EMAIL})\s{{0,9}}(?P<separator>----|[:,|;\t])(?P<password>.+)"
)
ADDRESS_INSIDE = re.compile(r"[^\s@]@[^\s@.]{1,63}\.[^\s@]")
COMMENT = re.compile(r"\s#.*")
# a column behind the password: another address, a link, a date, a number, a token
FURTHER_COLUMN = re.compile(
    rf"\s*(?:{EMAIL}|https?://.*|\d{{4}}-\d\d-\d\d.*|\+?\d{{8,}}|[\w.=+/-]{{20,}})\s*"
)
CERTAIN_SEPARATORS = ("----", "\t")  # no password has these
LONG_TOKEN_CHARS = 20  # a word that is as long is hardly a name of something
SHARED_BEGINNING_CHARS = 3
MOST_COLUMNS = 32


def parse_line(line: str) -> list[Login | str]:
    """Return the accounts and tokens of a line; none for a blank line or a comment.

    Raises MalformedLine. The tokens are not checked yet.
    """
    return [one.credential for one in find_credentials(line)]


def find_credentials(line: str) -> list[FoundCredential]:
    """Return the accounts and tokens of a line, with its facts about them.

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
        return [FoundCredential(login)]
    return [FoundCredential(token) for token in parse_tokens(text)]


def parse_login(line: str) -> Login | None:
    """Parse an account, for example `email:password`; None for anything else.

    Raises MalformedLine on two addresses: which of them is a password cannot be known.
    """
    match = ACCOUNT_LINE.fullmatch(line)
    if match is None or not match["password"].strip():
        return None
    password = drop_further_columns(match["password"], match["separator"]).strip()
    if len(password) > 2 and password[0] == password[-1] == '"':
        password = password[1:-1]
    if WHOLE_EMAIL.fullmatch(password):
        raise MalformedLine("has two e-mail addresses and no password")
    return Login(match["email"].lower(), password)


def drop_further_columns(text: str, separator: str) -> str:
    """Return the password without the columns behind it.

    A password may have a colon, a comma or the like: there only what is no part of a password, such
    as a second address or a long token, begins a further column.
    """
    columns = text.split(separator, MOST_COLUMNS)
    if separator in CERTAIN_SEPARATORS and columns[0].strip():
        return columns[0]
    for position, column in enumerate(columns[1:], 1):
        if FURTHER_COLUMN.fullmatch(column):
            return separator.join(columns[:position])
    return text


def parse_tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a line. Raises MalformedLine."""
    text = strip_name(COMMENT.sub("", text, count=1).rstrip())
    parts = [strip_name(strip_quotes(part)) for part in text.split(",") if part.strip()]
    if len(parts) > 1 and not are_of_one_kind(parts):
        raise MalformedLine("has a comma, and its parts are not tokens of one kind")
    yield from parts


def are_of_one_kind(parts: list[str]) -> bool:
    """Return whether the parts are several tokens, and not a token beside the name of somebody."""
    beginnings = {part[:SHARED_BEGINNING_CHARS] for part in parts}
    return len(beginnings) == 1 or min(map(len, parts)) >= LONG_TOKEN_CHARS


def parse_json_line(text: str) -> list[FoundCredential]:
    """Return the credentials of a JSON value. Raises MalformedLine."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedLine("is no valid JSON") from None
    entries = content if isinstance(content, list) else [content]
    return [one for entry in entries for one in json_documents.read_entry(entry)]
