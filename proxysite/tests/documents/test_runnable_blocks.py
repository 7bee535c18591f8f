"""The commands of the documents work as they stand, beside a gateway of their own."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import URLPattern

from proxysite import urls
from proxysite.testing.house import House
from proxysite.tests.documents.blocks import PAGES, Block, assert_like, find_blocks, read_page
from proxysite.tests.guides import Terminal, terminal

SHOWN_KEY = "sk-ps-…"
RUNNABLE_PAGES = [name for name in PAGES if find_blocks(name)]
STAMPS = (".venv/.base", ".venv/.development", ".venv/bin/python")  # of an installation


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """Yield a gateway on a new home, and the API key that it showed."""
    house = House(tmp_path_factory.mktemp("documents") / "home")
    try:
        key = re.search(r"API key +(\S+)", house.start())
        assert key, house.output
        yield house, key[1]
    finally:
        house.kill_process()


@pytest.mark.timeout(240)  # a process for each command, one after the other
@pytest.mark.parametrize("name", RUNNABLE_PAGES)
async def test_the_runnable_blocks_of_a_page(
    name: str, shared_house: tuple[House, str], tmp_path: Path
) -> None:
    house, key = shared_house
    async with terminal(house, tmp_path) as shell:
        for block in find_blocks(name):
            await run_block(shell, block, key)


async def run_block(shell: Terminal, block: Block, key: str) -> None:
    output = ""
    for command in block.commands:
        if command.startswith("git clone"):
            continue  # this is the clone
        if " make " in f" {command}":
            assert_make_runs(command)
            continue
        output = await shell.paste(command.replace(SHOWN_KEY, key))
    if block.answer is not None:
        assert_like(block.answer, json.loads(output))


def assert_make_runs(command: str) -> None:
    """Fail unless make would run a command of manage.py for it, without an installation."""
    arguments = command.split("#")[0].split("make ", 1)[1].split()
    old_files = [f"--old-file={stamp}" for stamp in STAMPS]
    done = subprocess.run(
        ["make", "--dry-run", *old_files, *arguments],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "manage.py" in done.stdout, done


def test_pages_of_which_every_block_must_run() -> None:
    assert {"README.md", "docs/endpoints.md", "docs/operations.md"} <= set(RUNNABLE_PAGES)


# --- endpoints ------------------------------------------------------------------------------------
def test_every_endpoint_stands_in_its_page() -> None:
    page = read_page("docs/endpoints.md")
    routes = [str(entry.pattern) for entry in urls.urlpatterns if isinstance(entry, URLPattern)]
    paths = [simplify_route(route) for route in [*routes, *list_staff_routes()]]
    missing = sorted({path for path in paths if path not in simplify_page(page)})
    assert missing == []


def list_staff_routes() -> list[str]:
    """Return the routes of the staff's JSON; the pages of the desk are for browsers."""
    routes = (entry for entry in urls.STAFF_URLS if isinstance(entry, URLPattern))
    return [
        f"admin/{entry.pattern}"
        for entry in routes
        if entry.callback.__module__.startswith("api.views.staff")
    ]


def simplify_route(route: str) -> str:
    """Return a route as the page writes it: /v1/files/{}/content."""
    text = re.sub(r"\(\?P<\w+>[^)]*\)|<\w+:\w+>", "{}", route.strip("^$"))
    return "/" + re.sub(r"\(/\.\*\)\?$", "", text)


def simplify_page(text: str) -> str:
    return re.sub(r"\{\w+\}", "{}", text)
