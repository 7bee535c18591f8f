"""What containers would be made of, read without a container engine: compose.yaml, the Dockerfile,
.dockerignore.

compose.yaml is read as the part of YAML that it is written in: block mappings, flow lists and
mappings, anchors, aliases and merges; block lists are refused. Sources: the Compose specification
("Interpolation"), Docker's reference of the Dockerfile and of .dockerignore.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
TOKEN = re.compile(r'\s*([\[\]{},]|"(?:[^"\\]|\\.)*"|[^\[\]{},"]+)')
Tree = dict[str, Any]


class Unset(Exception):
    """Compose refuses to start: a variable that it must be told has no value."""


def services(env: Mapping[str, str]) -> Tree:
    """The services of compose.yaml as Compose would start them in the environment `env`. Raises
    Unset.
    """
    found: Tree = interpolated(compose()["services"], env)
    return found


def compose() -> Tree:
    """The whole file, variables as they are written."""
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    lines = [re.sub(r"(^|\s)#.*$", "", line).rstrip() for line in text.splitlines()]
    return block([(len(line) - len(line.lstrip()), line.strip()) for line in lines if line], 0, {})


def block(lines: list[tuple[int, str]], indent: int, anchors: Tree) -> Tree:
    """The mapping that begins with the first line; its lines are taken off."""
    own: Tree = {}
    merged: Tree = {}
    while lines and lines[0][0] == indent:
        key, colon, rest = lines.pop(0)[1].partition(":")
        assert colon, f"no mapping: {key}"
        rest, anchor = rest.strip(), ""
        if rest.startswith("&"):
            anchor, _, rest = rest[1:].partition(" ")
        if rest.startswith("*"):
            value = anchors[rest[1:]]
        elif rest or not lines or lines[0][0] <= indent:
            value = flow(rest)
        else:
            value = block(lines, lines[0][0], anchors)
        if anchor:
            anchors[anchor] = value
        if key == "<<":
            merged = value
        else:
            own[key] = value
    assert not lines or lines[0][0] < indent, (
        f"indented otherwise than its neighbours: {lines[0][1]}"
    )
    return merged | own


def flow(text: str) -> Any:
    """A value that stands on its key's line; plain scalars stay text."""
    if not text.startswith(("[", "{", '"')):
        return text
    tokens = TOKEN.findall(text)
    value = collection(tokens)
    assert not tokens, f"more than one value: {text}"
    return value


def collection(tokens: list[str]) -> Any:
    first = tokens.pop(0)
    if first not in ("[", "{"):
        return json.loads(first) if first.startswith('"') else first.strip()
    items = []
    while tokens[0] not in ("]", "}"):
        items.append(collection(tokens))
        if tokens[0] == ",":
            tokens.pop(0)
    tokens.pop(0)
    return items if first == "[" else dict(item.split(": ") for item in items)


def interpolated(value: Any, env: Mapping[str, str]) -> Any:
    """`value` with its variables put in, as Compose does. Raises Unset."""
    if isinstance(value, dict):
        return {key: interpolated(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, env) for item in value]

    def fill(match: re.Match[str]) -> str:
        dollar, name, kind, word = match.groups()
        if dollar:
            return "$"
        given = env.get(name, "")
        if not given and kind == "?":
            raise Unset(name)
        return given or (word if kind == "-" else "")

    return VARIABLE.sub(fill, value)


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and their arguments."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in lines)
        if word
    ]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps the file out of the image: the last pattern that it or a parent
    matches decides.
    """
    out = False
    parents = [path]
    while "/" in parents[-1]:
        parents.append(parents[-1].rpartition("/")[0])
    for pattern in ignore_patterns():
        expression = as_regex(pattern.removeprefix("!"))
        if any(expression.fullmatch(parent) for parent in parents):
            out = not pattern.startswith("!")
    return out


def ignore_patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def as_regex(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within one name, `**` is any number of them."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))


def image_files() -> Iterator[str]:
    """What `COPY . .` would put into the image, relative to the repository's root."""
    wanted = {
        pattern.removeprefix("!").split("/")[0]
        for pattern in ignore_patterns()
        if pattern.startswith("!")
    }
    for name in sorted(wanted):
        if (ROOT / name).is_file():
            found = [ROOT / name]
        else:
            found = [
                Path(folder, file) for folder, _, files in os.walk(ROOT / name) for file in files
            ]
        for path in found:
            relative = path.relative_to(ROOT).as_posix()
            if not ignored(relative):
                yield relative


def arguments(instruction: str) -> list[str]:
    """The arguments of each such instruction of the Dockerfile."""
    return [argument for word, argument in dockerfile() if word == instruction]


def health_check() -> list[str]:
    """The command of the Dockerfile's HEALTHCHECK."""
    (argument,) = arguments("HEALTHCHECK")
    return json.loads(argument.partition("CMD ")[2])
