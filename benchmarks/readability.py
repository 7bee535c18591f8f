"""Measure how readable the source is, without tests and migrations.

    python -m benchmarks.readability [ROOT]

Prints one line for each measure, with its bound, and then the lines that are too long. Only the
length of lines is measured in tests, too; comments such as `noqa` count as text. The exit status is
1 when a bound is missed. The measures come from two surveys of well-kept Django and asyncio
projects. They are a hint and not the aim: a name that is long and wrong is no better.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

APPS = ("proxysite", "api", "conversations", "tokens", "providers")
SKIPPED_FOLDERS = {"migrations", "tests", "testing", "__pycache__"}
MAX_LINE = 100
MAX_NESTING = 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Counts:
    """The sums over all files."""

    lines: int = 0
    ternaries: int = 0
    parallel_assignments: int = 0
    any_words: int = 0
    docstring_words: int = 0
    what_words: int = 0
    deep: list[str] = field(default_factory=list)
    function_names: Counter[str] = field(default_factory=Counter)
    modules_of_name: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    folders: Counter[str] = field(default_factory=Counter)


def find_files(root: Path) -> Iterator[Path]:
    """Yield the source files, without tests and migrations."""
    for app in APPS:
        for path in sorted((root / app).rglob("*.py")):
            if (
                not SKIPPED_FOLDERS & set(path.relative_to(root).parts)
                and path.stem != "settings_test"
            ):
                yield path


def list_long_lines(root: Path) -> list[str]:
    """Return each line over MAX_LINE characters as "file:number"; migrations are left out."""
    paths = list(root.glob("*.py"))
    for folder in (*APPS, "benchmarks"):
        paths += (root / folder).rglob("*.py")
    long_lines = []
    for path in sorted(paths):
        name = path.relative_to(root)
        if "migrations" in name.parts:
            continue
        for number, line in enumerate(path.read_text().split("\n"), 1):
            if len(line) > MAX_LINE:
                long_lines.append(f"{name}:{number}")
    return long_lines


def measure_nesting(function: Function) -> int:
    """Return how many blocks deep the deepest statement of a function is."""

    def depth_of(statements: list[ast.stmt], depth: int) -> int:
        deepest = depth
        for statement in statements:
            if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
                continue
            inner = depth + isinstance(statement, BLOCKS)
            for branch in find_branches(statement):
                is_elif = isinstance(statement, ast.If) and branch is statement.orelse
                is_elif = is_elif and len(branch) == 1 and isinstance(branch[0], ast.If)
                deepest = max(deepest, depth_of(branch, depth if is_elif else inner))
        return deepest

    return depth_of(function.body, 0)


def find_branches(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Return the lists of statements that stand inside a statement."""
    branches = [getattr(statement, name, None) for name in ("body", "orelse", "finalbody")]
    branches += [handler.body for handler in getattr(statement, "handlers", ())]
    branches += [case.body for case in getattr(statement, "cases", ())]
    return [branch for branch in branches if branch]


def count_file(counts: Counts, path: Path, root: Path) -> None:
    """Add the counts of one file."""
    source = path.read_text()
    name = str(path.relative_to(root))
    counts.lines += len(source.splitlines())
    # Django wants all commands of an app in one folder
    if path.stem != "__init__" and path.parent.name != "commands":
        counts.folders[str(path.parent.relative_to(root))] += 1
    words = tokenize.generate_tokens(io.StringIO(source).readline)
    counts.any_words += sum(
        token.type == tokenize.NAME and token.string == "Any" for token in words
    )
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, FUNCTIONS):
            counts.modules_of_name[statement.name].add(name)
    for node in ast.walk(tree):
        count_node(counts, node, name)


def count_node(counts: Counts, node: ast.AST, name: str) -> None:
    """Add the counts of one node of a syntax tree."""
    counts.ternaries += isinstance(node, ast.IfExp)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        counts.parallel_assignments += isinstance(node.value, ast.Tuple)
    if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)):
        docstring = (ast.get_docstring(node) or "").lower()
        found = re.findall(r"[a-z']+", docstring)
        counts.docstring_words += len(found)
        counts.what_words += found.count("what")
    if isinstance(node, FUNCTIONS):
        if not node.name.startswith("__"):
            counts.function_names[node.name] += 1
        if measure_nesting(node) > MAX_NESTING:
            counts.deep.append(f"{name}:{node.name}")


def count_not_imperative(root: Path) -> float:
    """Return the share of function docstrings to which ruff's D401 objects, in per cent."""
    documented = 0
    for path in find_files(root):
        for node in ast.walk(ast.parse(path.read_text())):
            documented += isinstance(node, FUNCTIONS) and ast.get_docstring(node) is not None
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "D401", "--quiet"]
    command += ["--config", "lint.pydocstyle.convention = 'pep257'", "--output-format", "concise"]
    command += map(str, find_files(root))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return 100 * done.stdout.count(" D401 ") / max(1, documented)


def main() -> int:
    """Print the table, and return 1 when a bound is missed, else 0."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    counts = Counts()
    for path in find_files(root):
        count_file(counts, path, root)
    long_lines = list_long_lines(root)
    names = counts.function_names
    one_word = sum(number for name, number in names.items() if "_" not in name.strip("_"))
    repeated = sum(len(modules) > 1 for modules in counts.modules_of_name.values())
    folder, largest = counts.folders.most_common(1)[0]
    thousands = counts.lines / 1_000
    rows: list[tuple[str, float, float]] = [
        ("one-word function names, %", 100 * one_word / names.total(), 25),
        ("function names in several modules, %", 100 * repeated / len(counts.modules_of_name), 10),
        ("function docstrings that are not imperative, %", count_not_imperative(root), 10),
        (
            "'what' in 1,000 words of docstrings",
            1_000 * counts.what_words / counts.docstring_words,
            2,
        ),
        (f"functions deeper than {MAX_NESTING} blocks", len(counts.deep), 0),
        ("ternaries in 1,000 lines", counts.ternaries / thousands, 10),
        ("parallel assignments in 1,000 lines", counts.parallel_assignments / thousands, 1),
        (f"lines over {MAX_LINE} columns", len(long_lines), 0),
        (f"modules in the largest folder ({folder})", largest, 14),
        ("the word Any in 1,000 lines", counts.any_words / thousands, 14),
    ]
    print(f"{counts.lines:,} lines")
    print("| measure | now | bound |\n| --- | --- | --- |")
    for text, value, bound in rows:
        print(f"| {text} | {value:.4g}{' !' if value > bound else ''} | {bound:g} |")
    if long_lines:
        print("\nToo long:", *long_lines, sep="\n")
    return int(any(value > bound for _, value, bound in rows))


if __name__ == "__main__":
    sys.exit(main())
