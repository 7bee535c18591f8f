"""Find the credentials in a JSON or YAML document, whatever program wrote it.

Known are: lists of tokens, objects with a token or an account, gpt-load's list of keys, the
channels of one-api and new-api (several keys in one field, a line each), LiteLLM's `model_list`,
CLIProxyAPI's sections of keys, gemini-balance's settings, cookies of browser extensions and
Playwright's state of a browser. Keys for a gateway's own callers are left out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from tokens.imports.formats.source_lines import (
    UNKNOWN_ORIGIN,
    FoundCredential,
    Login,
    MalformedLine,
    Origin,
    SourceLine,
)
from tokens.imports.formats.token_text import COOKIE_NAMES, WHOLE_EMAIL, strip_name
from tokens.imports.formats.upstream_addresses import CHANNEL_ADDRESSES, NAMED_ADDRESSES

Entry = Mapping[str, object]

EMAIL_FIELDS = ("email", "mail", "username", "user", "account")
PASSWORD_FIELDS = ("k2_password", "password", "passwd", "pass", "pwd")
TOKEN_FIELDS = (
    *("refresh_token", "access_token", "token", "kimi-auth", "api_key", "api-key", "apiKey"),
    *("key", "key_value"),
)
ADDRESS_FIELDS = ("base_url", "base-url", "baseUrl", "baseURL", "api_base")
LABEL_FIELDS = ("label", "notes", "remark", "name", "model_name")
END_FIELDS = ("expires_at", "expirationDate")
# objects in which the credential of an entry stands
INNER_OBJECTS = ("litellm_params",)
INNER_LISTS = ("api-key-entries", "api-keys", "keys")
# keys with which callers come to that gateway, and its own passwords
OWN_FIELDS = frozenset(
    "allowed_tokens auth_token master_key general_settings environment_variables litellm_settings "
    "router_settings remote-management".split()
)
CLIENT_KEYS = "api-keys"  # in CLIProxyAPI: of its callers, unless a provider's section has it
PROVIDER_SECTIONS = ("-api-key", "openai-compatibility")
MOST_LABEL_CHARS = 100
DEEPEST_SECTION = 6
KEY_LIST_NAME = re.compile(r"(?:key|token|secret|credential|account|item|data)s?$", re.IGNORECASE)
KEY_COUNTERS = ("valid_keys", "invalid_keys")  # gemini-balance: failures by key
VARIABLE_PREFIX = "os.environ/"  # LiteLLM: the key is in a variable of the environment
NO_CREDENTIAL = "is JSON without a token or an account"


# --- the document ---------------------------------------------------------------------------------
def read_document(content: object) -> Iterator[SourceLine]:
    """Yield a line for each entry of a document."""
    for number, entry in enumerate(list_entries(content), 1):
        try:
            yield SourceLine(number, read_entry(entry))
        except MalformedLine as fault:
            yield SourceLine(number, problem=str(fault))


def list_entries(content: object, depth: int = 0) -> Iterator[object]:
    """Yield the entries of a document: the items of its lists, however deep they are.

    An object that is an entry itself is one. An object without any list is one, too.
    """
    if isinstance(content, list):
        yield from content
    elif not isinstance(content, dict) or is_entry(content):
        yield content
    else:
        sections = list_sections(content)
        if not sections and not depth:
            yield content
        for section in sections:
            if depth < DEEPEST_SECTION:
                yield from list_entries(section, depth + 1)


def list_sections(content: Entry) -> list[object]:
    """Return the lists and objects of a document that may hold credentials for upstreams."""
    own_fields = set(OWN_FIELDS)
    if any(name.endswith(PROVIDER_SECTIONS) for name in content):
        own_fields.add(CLIENT_KEYS)
    return [
        list(value) if name in KEY_COUNTERS else value
        for name, value in content.items()
        if isinstance(value, list | dict)
        and name.lower() not in own_fields
        and (len(content) == 1 or is_section_of_keys(name, value))
    ]


def is_section_of_keys(name: str, value: object) -> bool:
    """Return whether a section may hold keys: a list of texts must have a name that says so."""
    if not isinstance(value, list) or not any(isinstance(item, str) for item in value):
        return True
    return KEY_LIST_NAME.search(name) is not None


def is_entry(entry: Entry) -> bool:
    """Return whether an object holds a credential itself."""
    if isinstance(entry.get("litellm_params"), dict):
        return True
    if read_first_text(entry, PASSWORD_FIELDS):
        return True
    return bool(read_first_text(entry, TOKEN_FIELDS)) or is_cookie(entry)


# --- an entry -------------------------------------------------------------------------------------
def read_entry(entry: object, outer: Origin = UNKNOWN_ORIGIN) -> list[FoundCredential]:
    """Return the accounts and tokens of one JSON value; none for a cookie that is no token.

    Raises MalformedLine.
    """
    if isinstance(entry, str) and entry.strip():
        return read_keys(entry, outer)
    if not isinstance(entry, dict):
        raise MalformedLine(NO_CREDENTIAL)
    origin = read_origin(entry, outer)
    for name in INNER_OBJECTS:
        if isinstance(inner := entry.get(name), dict):
            return read_entry(inner, origin)
    if read_first_text(entry, PASSWORD_FIELDS):
        return [FoundCredential(read_login(entry), origin)]
    if is_cookie(entry):
        return read_cookie(entry, origin)
    if keys := read_first_text(entry, TOKEN_FIELDS):
        return read_keys(keys, origin)
    return read_inner_lists(entry, origin)


def read_inner_lists(entry: Entry, origin: Origin) -> list[FoundCredential]:
    """Return the credentials in the lists of an entry, such as the cookies of a browser's state."""
    names = (*INNER_LISTS, "localStorage")
    items = [item for name in names if isinstance(inner := entry.get(name), list) for item in inner]
    if "localStorage" in entry:
        address = read_first_text(entry, ("origin",))
        origin = Origin(address or origin.base_url, origin.label)
    if not items and "localStorage" not in entry:
        raise MalformedLine(NO_CREDENTIAL)
    found: list[FoundCredential] = []
    for item in items:
        if isinstance(item, str | dict) and not has_lists(item):
            found += read_entry(item, origin)
    return found


def has_lists(item: str | Entry) -> bool:
    """Return whether an item has further lists in it, which are not followed."""
    return not isinstance(item, str) and any(name in item for name in INNER_LISTS)


def read_keys(text: str, origin: Origin) -> list[FoundCredential]:
    """Return the tokens of a field, which may have several, a line each, or be a JSON list."""
    if text.startswith(VARIABLE_PREFIX):
        raise MalformedLine("names a variable of the environment instead of a key")
    lines = [line.strip() for line in text.splitlines()]
    if text.lstrip().startswith("["):
        lines = read_list_in_text(text)
    return [FoundCredential(strip_name(line), origin) for line in lines if line]


def read_list_in_text(text: str) -> list[str]:
    """Return the texts of a JSON list that is written as a text. Raises MalformedLine."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedLine("is no valid JSON") from None
    return [item.strip() for item in items if isinstance(item, str)]


def read_login(entry: Entry) -> Login:
    """Return the account of an entry with a password. Raises MalformedLine."""
    email = read_first_text(entry, EMAIL_FIELDS).strip()
    if not WHOLE_EMAIL.fullmatch(email):
        raise MalformedLine("is an account without an e-mail address")
    return Login(email.lower(), read_first_text(entry, PASSWORD_FIELDS))


def is_cookie(entry: Entry) -> bool:
    """Return whether an object is a cookie, or a value of a browser's local storage."""
    return isinstance(entry.get("name"), str) and isinstance(entry.get("value"), str)


def read_cookie(entry: Entry, origin: Origin) -> list[FoundCredential]:
    """Return the token of a cookie or of a value in local storage; nothing for other ones."""
    value = str(entry["value"]).strip()
    if entry["name"] not in (*COOKIE_NAMES, "access_token", "refresh_token") or not value:
        return []
    address = read_first_text(entry, ("domain",)) or origin.base_url
    return [FoundCredential(strip_name(value), Origin(address, "", origin.expires_at))]


# --- the facts beside a credential ----------------------------------------------------------------
def read_origin(entry: Entry, outer: Origin) -> Origin:
    """Return the facts of an entry about its credential; those of `outer` fill the gaps."""
    base_url = read_first_text(entry, ADDRESS_FIELDS) or outer.base_url
    if not base_url:
        base_url = guess_address(entry)
    label = read_first_text(entry, LABEL_FIELDS)[:MOST_LABEL_CHARS] or outer.label
    ends = (read_time(entry.get(name)) for name in END_FIELDS)
    expires_at = next((end for end in ends if end is not None), outer.expires_at)
    return Origin(base_url, label, expires_at)


def guess_address(entry: Entry) -> str:
    """Return the address of a channel's type or of a model's prefix; empty if they say nothing."""
    channel_type = entry.get("type")
    if isinstance(channel_type, int) and "key" in entry:
        return CHANNEL_ADDRESSES.get(channel_type, "")
    prefix, slash, _ = read_first_text(entry, ("model",)).partition("/")
    return NAMED_ADDRESSES.get(prefix.lower(), "") if slash else ""


def read_time(value: object) -> datetime | None:
    """Return a time that is written as a text or in seconds since 1970; None for anything else."""
    try:
        if isinstance(value, str) and len(value) >= len("2026-01-01"):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def read_first_text(entry: Entry, names: tuple[str, ...]) -> str:
    """Return the first of these fields that has a text, or an empty string."""
    values = (entry.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")
