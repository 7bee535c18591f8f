"""Whatever bytes a file has: nothing raises, every line has a verdict, no reason shows its text."""

import json
import random
from collections import Counter

import pytest

from tokens.imports.credential_rules import find_problem
from tokens.imports.formats import json_documents, upstream_addresses
from tokens.imports.text_decoding import UnreadableFile, decode_text_file
from tokens.imports.token_import import parse_lines

PIECES = [
    *(
        "sk-made-up-0123456789abcdef",
        "june@example.org",
        ":",
        "----",
        "|",
        "\t",
        ",",
        ";",
        "=",
        "#",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "\\",
        "\n",
        "\r\n",
        "\r",
        "\0",
        "\u202e",
        "\u2028",
        "密码",
        "é",
    ),
    *("model_list:", "- api_key: ", "litellm_params:", "&a", "*a", "<<: *a", "!!python/object:x"),
    *("token", "key", "password", "email", "base_url", "API_KEY=", "export ", "os.environ/X"),
    *(
        "# Netscape HTTP Cookie File\n",
        ".a.b\tTRUE\t/\tTRUE\t0\ttoken\tx\n",
        "null",
        "1e999",
        "true",
    ),
    *('{"token": "abcdef"}', '{"key": ["a"]}', '{"cookies": [{}]}', "http://[", "proxysite-tokens"),
    "\ud800",
]


def check_lines(lines: list[str]) -> None:
    """Read the lines of a file and check what holds for all files."""
    parsed = parse_lines(lines)
    numbers: Counter[int] = Counter()
    for line in parsed.lines:
        numbers[line.number] += 1
        assert not (line.problem and line.credentials)
        assert "made-up" not in line.problem
        for found in line.credentials:
            find_problem(found.credential)
            upstream_addresses.is_other_upstream(found.origin.base_url, "https://a.example")
            upstream_addresses.render_address(found.origin.base_url)
    assert max(numbers.values(), default=1) == 1
    if parsed.format in ("lines", "env", "cookies"):
        assert list(numbers) == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("seed", range(8))
def test_any_mixture_of_known_pieces_is_read(seed: int) -> None:
    noise = random.Random(seed)
    for _ in range(1_500):
        text = "".join(noise.choices(PIECES, k=noise.randrange(1, 30)))
        check_lines(decode_text_file(text.encode("utf-8", "surrogatepass")) if seed % 2 else [text])


def test_any_bytes_are_read_or_refused() -> None:
    noise = random.Random(9)
    for length in (0, 1, 2, 3, 5, 8, 50, 400):
        for _ in range(200):
            try:
                lines = decode_text_file(noise.randbytes(length))
            except UnreadableFile:
                continue
            check_lines(lines)


def test_any_json_is_read() -> None:
    noise = random.Random(10)
    words = [
        *PIECES,
        "data",
        "items",
        "keys",
        "api-keys",
        "litellm_params",
        "origin",
        "name",
        "value",
    ]

    def make_value(depth: int) -> object:
        kind = noise.randrange(6 if depth else 3)
        if kind == 0:
            return noise.choice(words)
        if kind == 1:
            return noise.choice([None, True, 0, -1, 1e308, 10**30])
        if kind < 4:
            return [make_value(depth - 1) for _ in range(noise.randrange(3))] if depth else "x"
        return {noise.choice(words): make_value(depth - 1) for _ in range(noise.randrange(4))}

    for _ in range(3_000):
        content = make_value(4)
        lines = [*json_documents.read_document(content)]
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        check_lines(json.dumps(content).split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "x" * 2_000_000,
        "[" + "[]," * 2_100_000 + "[]]",
        '"' * 50_000,
        'token,key\n"' + "x" * 5_000_000,
        "A_KEY=" + "[" * 100_000,
        "model_list:\n" + "- [" * 20_000,
        "model_list:\n" + "x: y\n" * 900_000,
        "\n" * 100_000,
    ],
    ids=lambda text: f"{text[:8]!r} {len(text)}",
)
@pytest.mark.timeout(20)
def test_a_hostile_file_is_read_in_time(text: str) -> None:
    check_lines(text.split("\n"))
