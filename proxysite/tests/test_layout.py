"""A newcomer finds his way: folders are small, and the name of a module means one thing."""

import re
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("proxysite", "api", "conversations", "tokens", "providers")
LEFT_OUT = {"migrations", "tests", "testing", "commands", "__pycache__"}
MAX_MODULES = 14
BACKEND = "providers/queued_sqlite3/base.py"  # the name that Django looks for


def find_modules(app: str) -> list[Path]:
    """Return the modules of an app, without tests, migrations and commands."""
    found = (path.relative_to(ROOT) for path in (ROOT / app).rglob("*.py"))
    own = [path for path in found if not LEFT_OUT & set(path.parts) and path.stem != "__init__"]
    return [path for path in own if str(path) != BACKEND]


def test_no_folder_has_more_modules_than_one_sees_at_a_glance() -> None:
    sizes = Counter(path.parent for app in APPS for path in find_modules(app))
    assert len(sizes) > 20
    assert {str(folder): size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_a_name_means_one_module_of_an_app() -> None:
    twice = {}
    for app in APPS:
        places = defaultdict(list)
        for path in find_modules(app):
            places[path.stem].append(str(path))
        twice |= {name: found for name, found in places.items() if len(found) > 1}
    assert twice == {}


def test_the_files_that_the_documents_name_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r"\b(?:[a-z0-9_]+/)+[a-z0-9_]+\.py\b", page.read_text())
        if path.split("/")[0] in (*APPS, "benchmarks")
    }
    assert len(named) > 10
    assert {(page, path) for page, path in named if not (ROOT / path).is_file()} == set()
