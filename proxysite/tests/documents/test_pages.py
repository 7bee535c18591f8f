"""Rules of the documents: their links lead somewhere, and their language is plain."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from proxysite.tests.documents.blocks import PAGES, TRANSLATED_PAGES, read_page

ALL_PAGES = [*PAGES, "CONTRIBUTING.md", "SECURITY.md", *TRANSLATED_PAGES]
COMMANDS_PAGE = "docs/commands.md"  # its sentences are the help of the commands
LINE_WIDTH = 100
README_ORDER = """
    Start, The first real upstream, Keys, Clients, Features, Operations, Figures, Promises, Licence
"""
PRIVATE_WORDS = re.compile(r"\b(doors?|told|said|heard|hears|farewells?|asked of)\b", re.IGNORECASE)
APPS = ("providers", "tokens", "conversations", "api", "proxysite")
LEFT_OUT = {"tests", "migrations", "commands", "static", "__pycache__"}


def remove_code(text: str) -> str:
    without_blocks = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", without_blocks)


def list_anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", remove_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def remove_blocks(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", ALL_PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    folder = (settings.BASE_DIR / name).parent
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", remove_blocks(read_page(name))):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (folder / path).resolve() if path else settings.BASE_DIR / name
        is_found = target.exists()
        if is_found and anchor:
            is_found = anchor in list_anchors(target.read_text(encoding="utf-8"))
        if not is_found:
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", [name for name in ALL_PAGES if name != COMMANDS_PAGE])
def test_the_language_is_plain(name: str) -> None:
    prose = remove_code(read_page(name))
    faults = [match[0] for match in PRIVATE_WORDS.finditer(prose)]
    faults += re.findall(r"(?:^|[.:!?]\s+|\n[-*#]+ )What\b[^.]{0,40}", prose, re.MULTILINE)
    assert faults == []


@pytest.mark.parametrize("name", ALL_PAGES)
def test_lines_are_short(name: str) -> None:
    lines = read_page(name).splitlines()
    has_pasted_commands = "/coming-from" in name or name == "docs/quick-start.md"
    left_out = ("|", "curl ") if has_pasted_commands else ("|",)
    too_long = [line for line in lines if len(line) > LINE_WIDTH and not line.startswith(left_out)]
    assert [line for line in too_long if not line.startswith("FILE=$(curl")] == []


def test_the_readme_answers_a_strangers_questions_in_order() -> None:
    headings = re.findall(r"^## (.+)$", read_page("README.md"), re.MULTILINE)
    assert headings == [heading.strip() for heading in README_ORDER.split(",")]


def test_every_page_stands_in_the_index() -> None:
    index = read_page("docs/README.md")
    pages = {path.name for path in (settings.BASE_DIR / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


def test_every_folder_stands_in_contributing() -> None:
    page = read_page("CONTRIBUTING.md")
    folders = [folder for app in APPS for folder in [Path(app), *list_folders(Path(app))]]
    assert len(folders) > 40
    assert [str(folder) for folder in folders if f"{folder}/`" not in page] == []


def list_folders(app: Path) -> list[Path]:
    found = (path.parent for path in (settings.BASE_DIR / app).rglob("*.py"))
    relative = {path.relative_to(settings.BASE_DIR) for path in found}
    return sorted(path for path in relative if not LEFT_OUT & set(path.parts))
