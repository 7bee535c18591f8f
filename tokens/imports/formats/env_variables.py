"""Read the keys from a file of environment variables (`.env`).

A variable whose name ends with KEY, TOKEN or the like holds keys, several with commas between or as
a JSON list. `ACME_BASE_URL` is the address of `ACME_API_KEY`. Other variables hold nothing.
"""

import re
from collections.abc import Iterator

from tokens.imports.formats.json_documents import read_list_in_text
from tokens.imports.formats.source_lines import FoundCredential, MalformedLine, Origin, SourceLine
from tokens.imports.formats.token_text import strip_quotes
from tokens.imports.formats.upstream_addresses import NAMED_ADDRESSES

VARIABLE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Z][A-Z0-9_]{0,127})\s*=\s*(?P<value>.*)")
KEY_NAME = re.compile(
    r"(?:(?P<service>[A-Z0-9_]+?)_)?(?:API_?)?(?:KEY|TOKEN|ACCESS_TOKEN|REFRESH_TOKEN)S?(?:_\d+)?"
)
ADDRESS_NAME = re.compile(
    r"(?P<service>[A-Z0-9_]+?)_(?:API_)?(?:BASE_URL|BASE|URL|ENDPOINT|API_HOST)"
)
# keys of the program that the file belongs to, and of its callers
OWN_NAME = re.compile(
    r"ALLOWED|AUTH_TOKEN|MASTER|SECRET_KEY|FIELD_KEY|ADMIN|PUBLIC_KEY|SESSION|JWT|AWS_|SALT|"
    r"MAX_|LIMIT|PEPPER|GITHUB|DISCORD|TELEGRAM|SENTRY"
)
NOTE = re.compile(r"\s#.*")


def is_variable_file(sample: list[str]) -> bool:
    """Return whether all lines set variables, and at least one of them has a key."""
    lines = [line for line in sample if line.strip() and not line.lstrip().startswith("#")]
    matches = [VARIABLE.fullmatch(line) for line in lines]
    names = [match["name"] for match in matches if match is not None]
    return bool(names) and len(names) == len(lines) and any(map(KEY_NAME.fullmatch, names))


def read_variables(lines: list[str]) -> Iterator[SourceLine]:
    """Yield each line with the keys of its variable."""
    addresses = find_addresses(lines)
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            yield SourceLine(number)
            continue
        match = VARIABLE.fullmatch(line)
        if match is None:
            yield SourceLine(number, problem="sets no variable, as the other lines of the file do")
            continue
        try:
            yield SourceLine(number, read_variable(match["name"], match["value"], addresses))
        except MalformedLine as fault:
            yield SourceLine(number, problem=str(fault))


def find_addresses(lines: list[str]) -> dict[str, str]:
    """Return the addresses that variables such as ACME_BASE_URL give, by the name before it."""
    addresses = {}
    for line in lines:
        match = VARIABLE.fullmatch(line)
        name = ADDRESS_NAME.fullmatch(match["name"]) if match is not None else None
        if match is not None and name is not None:
            addresses[name["service"]] = read_value(match["value"])
    return addresses


def read_variable(name: str, value: str, addresses: dict[str, str]) -> list[FoundCredential]:
    """Return the keys of a variable; nothing for other variables. Raises MalformedLine."""
    key_name = KEY_NAME.fullmatch(name)
    text = read_value(value)
    if key_name is None or OWN_NAME.search(name) or not text:
        return []
    service = key_name["service"] or ""
    known_address = NAMED_ADDRESSES.get(service.lower(), "")
    origin = Origin(addresses.get(service, known_address))
    parts = read_list_in_text(text) if text.startswith("[") else text.split(",")
    keys = (strip_quotes(part) for part in parts)
    return [FoundCredential(key.removeprefix("Bearer "), origin) for key in keys if key]


def read_value(text: str) -> str:
    """Return the value of a variable without quotes and without a note behind it."""
    value = text.strip()
    if value[:1] in ("'", '"', "`"):
        end = value.find(value[0], 1)
        if end > 0 and not value[end + 1 :].split("#")[0].strip():
            return value[1:end].strip()
    return NOTE.sub("", value, count=1).strip()
