"""The `.env` file: its variables complete those of the environment. No Django in here.

It is read as dotenv files are: blanks around the name, `export`, quotes, and a comment behind a
value. The four programs that proxysite replaces publish such files.
"""

import re
from collections.abc import MutableMapping
from pathlib import Path

import environ

from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_values import ENV_FILE
from tokens.imports.text_decoding import UnreadableFile, decode_text_file

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=(?P<value>.*)", re.ASCII)
# a comment may follow the closing quote; the quote itself may stand in the value as \" or \'
QUOTED_VALUE = re.compile(r"""(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)""")
REST_OF_LINE = re.compile(r"\s*(?:#.*)?")
COMMENT = re.compile(r"\s+#.*")
ESCAPED_CHARACTER = re.compile(r"\\([^rnt])")  # \n and the like stay: no value has a line end


def load_environment(file: Path) -> Environment:
    """Return the environment of this process, completed by the `.env` file.

    Changes os.environ, so that processes that this one starts see the same values.
    """
    variables: MutableMapping[str, str] = environ.Env.ENVIRON
    warnings: list[str] = []
    file_values = {}
    try:
        file_values = read_env_file(file)
    except OSError:
        warnings.append(f"{file} cannot be read: its settings are not in force.")
    except UnreadableFile as error:
        warnings.append(f"{file} is not in force: {error}")
    sources = {}
    for name, value in file_values.items():
        if name not in variables:
            variables[name] = value
            sources[name] = ENV_FILE
    environment = Environment(variables, sources)
    environment.warnings += warnings
    return environment


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables of a `.env` file; none when there is no such file.

    Raises OSError; UnreadableFile when it is not text.
    """
    if not file.is_file():
        return {}
    lines = decode_text_file(file.read_bytes())
    matches = (ASSIGNMENT.fullmatch(line) for line in lines if "\0" not in line)
    return {match["name"]: parse_value(match["value"]) for match in matches if match is not None}


def parse_value(text: str) -> str:
    """Return the value that a text means: without its quotes, and without a comment behind it.

    A comment begins with a blank and `#`; in quotes there is none.
    """
    quoted = QUOTED_VALUE.match(text.lstrip())
    if quoted is None or not REST_OF_LINE.fullmatch(text.lstrip(), quoted.end()):
        return COMMENT.sub("", text, count=1).strip()
    if quoted["quote"] == "'":
        return quoted["text"]
    return ESCAPED_CHARACTER.sub(r"\1", quoted["text"])
