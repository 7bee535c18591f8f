"""Find the format of a file by its content, and read its lines."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tokens.imports.formats import cookie_files, csv_tables, env_variables, json_documents
from tokens.imports.formats.source_lines import FoundCredential, MalformedLine, SourceLine
from tokens.imports.formats.yaml_documents import UnreadableDocument, read_yaml

SAMPLE_LINES = 200
MAX_JSON_VALUES = 2_000_000  # commas in a JSON document; each value takes memory
YAML_SECTION = re.compile(
    r"(?:model_list|litellm_settings|openai-compatibility|[a-z]+-api-key)\s*:\s*(?:#.*)?"
)
FORMAT_NAMES: dict[str, Promise] = {
    "lines": _("Lines"),
    "json": _("JSON"),
    "yaml": _("YAML"),
    "cookies": _("Cookies"),
    "env": _("Environment variables"),
    "table": _("Table with a heading"),
    "bundle": _("Encrypted export"),
}
ParseLine = Callable[[str], list[FoundCredential]]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file whose format is known: one of FORMAT_NAMES, and its lines, to be read once."""

    format: str
    lines: Iterator[SourceLine]
    line_count: int


def parse_file(lines: list[str], parse_line: ParseLine) -> ParsedFile:
    """Find the format of a file. `parse_line` reads a line that stands for itself.

    No content raises: a document that cannot be read is one line with a problem.
    """
    content = drop_blank_end(lines)
    sample = content[:SAMPLE_LINES]
    first_line = next((line.strip() for line in content if line.strip()), "")
    if first_line.startswith(("[", "{")) and (parsed := parse_json(content)) is not None:
        return parsed
    if any(YAML_SECTION.fullmatch(line.rstrip()) for line in content):
        return parse_yaml(content)
    if cookie_files.is_cookie_file(sample):
        return ParsedFile("cookies", cookie_files.read_cookie_lines(lines), len(lines))
    if env_variables.is_variable_file(sample):
        return ParsedFile("env", env_variables.read_variables(lines), len(lines))
    if delimiter := csv_tables.find_delimiter(sample):
        return ParsedFile("table", csv_tables.read_table(lines, delimiter), len(lines))
    return ParsedFile("lines", read_lines(lines, parse_line), len(lines))


def drop_blank_end(lines: list[str]) -> list[str]:
    """Return the lines without blank ones at the end; DOS ends a text with a sign of its own."""
    count = len(lines)
    while count and not lines[count - 1].strip(" \t\x1a"):
        count -= 1
    return lines[:count]


def read_lines(lines: Iterable[str], parse_line: ParseLine) -> Iterator[SourceLine]:
    """Yield each line with its credentials, or with the reason why it has none."""
    for number, line in enumerate(lines, 1):
        try:
            yield SourceLine(number, parse_line(line))
        except MalformedLine as fault:
            yield SourceLine(number, problem=str(fault))


def parse_json(lines: list[str]) -> ParsedFile | None:
    """Return a file that is one JSON document; None if it is none, or has a document a line."""
    if len(lines) > 1 and is_json(lines[0]) and is_json(lines[-1]):
        return None
    text = "\n".join(lines)
    if text.count(",") > MAX_JSON_VALUES:
        return refuse_document("json", f"is JSON with more than {MAX_JSON_VALUES} values")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    entries = list(json_documents.read_document(content))
    return ParsedFile("json", iter(entries), len(entries))


def is_json(line: str) -> bool:
    """Return whether a line is an object for itself, as in files with one object a line."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def parse_yaml(lines: list[str]) -> ParsedFile:
    """Return the entries of a YAML document."""
    try:
        content = read_yaml("\n".join(lines))
    except UnreadableDocument as fault:
        return refuse_document("yaml", str(fault))
    entries = list(json_documents.read_document(content))
    return ParsedFile("yaml", iter(entries), len(entries))


def refuse_document(name: str, problem: str) -> ParsedFile:
    """Return a file of one line, which has the problem of the whole document."""
    return ParsedFile(name, iter([SourceLine(1, problem=problem)]), 1)
