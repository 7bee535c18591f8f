"""The measure of long lines counts each line of the source as a reader sees it."""

from pathlib import Path

from benchmarks.readability import list_long_lines

SHORT_STATEMENT = "value = 1  # noqa: E501 - "


def write_source(root: Path, name: str, length: int) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"first = 1\n{SHORT_STATEMENT.ljust(length, 'x')}\n")


def test_a_comment_for_a_tool_counts_as_text(tmp_path: Path) -> None:
    write_source(tmp_path, "api/long.py", 101)
    write_source(tmp_path, "api/short.py", 100)
    assert list_long_lines(tmp_path) == ["api/long.py:2"]


def test_tests_and_scripts_are_measured_and_migrations_are_not(tmp_path: Path) -> None:
    for name in ("api/tests/test_a.py", "api/migrations/0001_a.py", "manage.py", "benchmarks/b.py"):
        write_source(tmp_path, name, 101)
    assert list_long_lines(tmp_path) == [
        "api/tests/test_a.py:2",
        "benchmarks/b.py:2",
        "manage.py:2",
    ]


def test_characters_are_counted_and_not_their_width(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(f'wide = "{"好" * 80}"\n')
    (tmp_path / "combined.py").write_text(f'marks = "{"की" * 50}"\n')
    assert list_long_lines(tmp_path) == ["combined.py:1"]
