"""Blocks of the documents that a test runs.

A shell block behind the comment `<!-- runnable -->` is run; a JSON block behind it is the answer of
its last command. Readers do not see the comment.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings

BLOCK = re.compile(
    r"<!-- runnable -->\n```sh\n(?P<commands>.*?)```\n(?:\n```json\n(?P<answer>.*?)```\n)?",
    re.DOTALL,
)
HEREDOC = re.compile(r"<<-? ?'?(\w+)'?")
# Chinese pages and the English ones that they translate
TRANSLATED_PAGES = {
    "README.zh-CN.md": "README.md",
    **{
        f"docs/zh-CN/{path.name}": f"docs/{path.name}"
        for path in sorted(settings.BASE_DIR.glob("docs/zh-CN/*.md"))
    },
}
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in settings.BASE_DIR.glob("docs/*.md")))


@dataclass(frozen=True)
class Block:
    """A runnable block: its commands, and the answer of the last one where the page shows it."""

    commands: list[str]
    answer: Any = None


def read_page(name: str) -> str:
    return (settings.BASE_DIR / name).read_text(encoding="utf-8")


def find_blocks(name: str) -> list[Block]:
    """Return the runnable blocks of a page in order."""
    return [
        Block(
            split_commands(match["commands"]),
            json.loads(match["answer"]) if match["answer"] else None,
        )
        for match in BLOCK.finditer(read_page(name))
    ]


def split_commands(text: str) -> list[str]:
    """Return the commands of a block; one may go over several lines, and comments are left out."""
    commands: list[str] = []
    open_lines: list[str] = []
    end_marker = ""
    for line in text.splitlines():
        open_lines.append(line)
        if heredoc := HEREDOC.search(line):
            end_marker = heredoc[1]
        if line == end_marker:
            end_marker = ""
        if end_marker or line.endswith("\\"):
            continue
        commands.append("\n".join(open_lines))
        open_lines = []
    return [command for command in commands if command.strip() and not command.startswith("#")]


def assert_like(shown: Any, actual: Any, place: str = "answer") -> None:
    """Fail unless the answer has everything that the page shows.

    It may have more keys, and more entries in another order. "…" stands for any characters, and
    numbers may differ.
    """
    if isinstance(shown, dict):
        assert isinstance(actual, dict), place
        assert shown.keys() <= actual.keys(), (place, shown.keys() - actual.keys())
        for key in shown:
            assert_like(shown[key], actual[key], f"{place}.{key}")
    elif isinstance(shown, list):
        assert isinstance(actual, list), place
        for entry in shown:
            assert any(is_like(entry, candidate) for candidate in actual), (place, entry, actual)
    elif isinstance(shown, str):
        pattern = ".*".join(re.escape(part) for part in shown.split("…"))
        assert re.fullmatch(pattern, str(actual), re.DOTALL), (place, shown, actual)
    elif isinstance(shown, bool) or shown is None:
        assert shown is actual, (place, shown, actual)
    else:
        assert isinstance(actual, int | float), (place, shown, actual)


def is_like(shown: Any, actual: Any) -> bool:
    try:
        assert_like(shown, actual)
    except AssertionError:
        return False
    return True
