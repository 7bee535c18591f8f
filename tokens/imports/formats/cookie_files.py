"""Read the cookies of a browser in Netscape's format, as extensions and curl write it.

Seven fields with tabs between: domain, whether subdomains count, path, whether it needs TLS, the
end in seconds since 1970, name, value. `#HttpOnly_` before the domain is no comment.
"""

from collections.abc import Iterable, Iterator

from tokens.imports.formats.json_documents import read_time
from tokens.imports.formats.source_lines import FoundCredential, Origin, SourceLine
from tokens.imports.formats.token_text import COOKIE_NAMES, strip_name

FIELD_COUNT = 7
HTTP_ONLY = "#HttpOnly_"
HEADING = "HTTP Cookie File"
SWITCHES = ("TRUE", "FALSE")


def is_cookie_file(sample: list[str]) -> bool:
    """Return whether the lines are those of a file of cookies."""
    if any(line.startswith("#") and HEADING in line for line in sample):
        return True
    cookies = [line for line in sample if line.strip() and not is_comment(line)]
    return bool(cookies) and all(is_cookie_line(line) for line in cookies)


def is_comment(line: str) -> bool:
    return line.startswith("#") and not line.startswith(HTTP_ONLY)


def is_cookie_line(line: str) -> bool:
    fields = line.split("\t")
    return len(fields) == FIELD_COUNT and fields[1] in SWITCHES and fields[3] in SWITCHES


def read_cookie_lines(lines: Iterable[str]) -> Iterator[SourceLine]:
    """Yield each line with the token of its cookie; a cookie that is no token holds nothing."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or is_comment(line):
            yield SourceLine(number)
        elif not is_cookie_line(line):
            yield SourceLine(number, problem="is no line of a file of cookies: seven fields, tabs")
        else:
            yield SourceLine(number, read_cookie_fields(line.split("\t")))


def read_cookie_fields(fields: list[str]) -> list[FoundCredential]:
    """Return the token of a cookie with these seven fields, or nothing."""
    domain, _, _, _, end, name, value = fields
    if name not in COOKIE_NAMES or not value.strip():
        return []
    expires_at = read_time(int(end)) if end.isascii() and end.isdigit() else None
    origin = Origin(domain.removeprefix(HTTP_ONLY), expires_at=expires_at)
    return [FoundCredential(strip_name(value.strip()), origin)]
