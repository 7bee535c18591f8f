"""Read the fields of a step from text that is nearly JSON. No I/O.

The names of the fields are found first; a value is what lies between a name and the next one. So
quotes inside a value, quotes of any kind or none around it, missing commas and braces and
full-width colons do no harm. The work grows with the length of the text.
"""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here
import re
from collections.abc import Iterable

from conversations.strategies.stepwise.cut_json import (
    DECODER,
    HALF_ESCAPE,
    close_json,
    decode_closed,
)

NAMES = r"(?P<name>title|content|next[ _-]?action|标题|内容|下一步)"
COLON = r"\s*+[:：=]\s*+"
QUOTED_NAME = re.compile(
    rf"[\"'`“”„‘’「『＂]{{1,3}}\s*+{NAMES}\s*+[\"'`“”„‘’」』＂]{{1,3}}{COLON}", re.IGNORECASE
)
BARE_NAME = re.compile(
    rf"(?:\A|[{{,，;；\n\"'”’])[ \t#*_-]*+{NAMES}[ \t*_]*+{COLON}[*_]*+", re.IGNORECASE
)
CLOSING_QUOTES = "\"'`”“’」』＂"
CLOSER_OF_QUOTE = {
    '"': '"',
    "'": "'",
    "`": "`",
    "“": "”“",
    "”": "”“",
    "„": "”“",
    "‘": "’‘",
    "「": "」",
    "『": "』",
    "＂": "＂",
}
SEPARATORS = ",，;； \t\r\n"
COMMENT = re.compile(rf"(?<=[{CLOSING_QUOTES}])\s*+[,，]?\s*+//[^\n{CLOSING_QUOTES}]*+\Z")
OBJECT_END = re.compile(rf"(?<=[{CLOSING_QUOTES}])\s*+[,，]?\s*+[}}\]]")
# the beginning of a name behind a value, where the text was cut
CUT_NAME = re.compile(
    rf"(?<=[{CLOSING_QUOTES}])\s*+[,，]\s*+[{CLOSING_QUOTES}]?[A-Za-z_ ]{{0,20}}"
    rf"[{CLOSING_QUOTES}]?\s*+[:：]?\s*+\Z"
)
ESCAPED_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
FINAL_CHARS = 64  # of the field `next_action` that are read


def read_loose_fields(text: str) -> dict[str, object]:
    """Return the fields of the step in `text` by their names, as values of JSON.

    Empty unless there are `content` and another field.
    """
    text = CUT_NAME.sub("", text)
    matches = find_names(QUOTED_NAME.finditer(text))
    if len(matches) < 2:
        matches = find_names(BARE_NAME.finditer(text))
    names = [name for name, _ in matches]
    if "content" not in names or len(names) < 2:
        return {}
    ends = [match.start() for _, match in matches[1:]]
    fields: dict[str, object] = {}
    for (name, match), end in zip(matches, [*ends, None], strict=True):
        value = text[match.end() : end]
        if name == "nextaction":
            fields[name] = value.strip()[:FINAL_CHARS]
        else:
            fields[name] = read_loose_value(value, is_last=end is None)
    return fields


def find_names(matches: Iterable[re.Match[str]]) -> list[tuple[str, re.Match[str]]]:
    """Return the names of fields with their places, in the order of the text.

    A name that comes again is part of a value; only the last `next_action` counts.
    """
    match_by_name: dict[str, re.Match[str]] = {}
    for match in matches:
        name = normalise_name(match["name"])
        if name == "nextaction" or name not in match_by_name:
            match_by_name[name] = match
    return sorted(match_by_name.items(), key=lambda item: item[1].start())


def normalise_name(name: object) -> str:
    """Return the name of a field in small letters without separators.

    Models spell it in several ways, or translate it.
    """
    plain_name = str(name).lower().replace("_", "").replace("-", "").replace(" ", "")
    return {"标题": "title", "内容": "content", "下一步": "nextaction"}.get(plain_name, plain_name)


def read_loose_value(raw_value: str, *, is_last: bool) -> object:
    """Return the value of a field without its quotes and without what follows it.

    After the last field there may be the end of the object and other text.
    """
    value = COMMENT.sub("", raw_value.strip().rstrip(SEPARATORS))
    if value.startswith(("[", "{")):
        return decode_beginning(value)
    closers = CLOSER_OF_QUOTE.get(value[:1])
    if closers is None:
        return unescape_value(strip_object_end(value) if is_last else value)
    quote_count = 3 if value.startswith(value[0] * 3) and len(value) > 3 else 1
    value = value[quote_count:]
    if is_last and (ends := list(OBJECT_END.finditer(value))):
        value = value[: ends[-1].start()]
    value = value.rstrip(SEPARATORS)
    for _ in range(quote_count):
        if value and value[-1] in closers and not value.endswith("\\" + value[-1]):
            value = value[:-1]
    return unescape_value(value)


def strip_object_end(value: str) -> str:
    """Return an unquoted value without the brace that ends its object."""
    if value.count("}") > value.count("{"):
        return value.removesuffix("```").rstrip().removesuffix("}").rstrip()
    return value


def decode_beginning(text: str) -> object:
    """Return the list or object at the beginning of a text, mended at its end; None for none."""
    return next(filter(None, map(decode_closed, close_json(text))), None)


def unescape_value(text: str) -> str:
    """Return a text with JSON's escapes read, as far as they are ones."""
    escaped_text = ESCAPED_OR_QUOTE.sub(escape_quote, HALF_ESCAPE.sub(r"\1", text))
    try:
        value: str = DECODER.decode(f'"{escaped_text}"')
    except ValueError:
        return text
    return value


def escape_quote(match: re.Match[str]) -> str:
    return '\\"' if match[0] == '"' else match[0]
