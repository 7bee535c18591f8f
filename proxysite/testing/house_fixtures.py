"""The fixtures of real `serve` processes, a plugin of conftest.py."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest loads this before Django is set up
    from proxysite.testing.house import House
    from proxysite.testing.upstream_server import Upstream

Furnished = tuple["House", str]  # an ended house after its first run, and its API key


@pytest.fixture(scope="session")
def _listener() -> Iterator[socket.socket]:
    """Yield the socket of the houses' upstreams; its address stays the same for all tests."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def house_upstream(_listener: socket.socket) -> AsyncIterator["Upstream"]:
    """Run the upstream that houses know as the provider `fake`."""
    from proxysite.testing.upstream_server import Upstream

    server = Upstream(_listener)
    await server.start()
    yield server
    await server.stop()
    assert not server.failures, server.failures


@pytest.fixture(scope="session")
def _furnished(
    tmp_path_factory: pytest.TempPathFactory,
    _listener: socket.socket,
    migrated_file: Path | None,
    django_db_setup: None,
) -> Iterator[Furnished]:
    """Yield an ended house after its first run, and its API key; other houses are copies of it."""
    from proxysite.testing.house import make_house, run_first_time

    with make_house(tmp_path_factory.mktemp("house") / "home") as furnished:
        if migrated_file is not None:
            furnished.copy_database(migrated_file)
        upstream_url = f"http://127.0.0.1:{_listener.getsockname()[1]}/v1"
        yield furnished, run_first_time(furnished, upstream_url)


@pytest.fixture(scope="session")
def house_key(_furnished: Furnished) -> str:
    """Return the first API key of every house but an empty one."""
    return _furnished[1]


@pytest.fixture(scope="session")
def house(_furnished: Furnished, tmp_path_factory: pytest.TempPathFactory) -> Iterator["House"]:
    """Yield a running house that tests share; they leave it running."""
    from proxysite.testing.house import make_house

    with make_house(tmp_path_factory.mktemp("house") / "home", template=_furnished[0]) as house:
        house.start()
        yield house


@pytest.fixture
def own_house(_furnished: Furnished, tmp_path: Path) -> Iterator["House"]:
    """Yield a house of this test alone, not started yet."""
    from proxysite.testing.house import make_house

    with make_house(tmp_path / "home", template=_furnished[0]) as house:
        yield house


@pytest.fixture
def empty_house(tmp_path: Path) -> Iterator["House"]:
    """Yield a house whose home has never been used."""
    from proxysite.testing.house import make_house

    with make_house(tmp_path / "home") as house:
        yield house


@pytest.fixture
def migrated_house(
    empty_house: "House", migrated_file: Path | None, django_db_setup: None
) -> "House":
    """Return an empty house whose first run need not migrate, where a copy can stand in for it."""
    if migrated_file is not None:
        empty_house.copy_database(migrated_file)
    return empty_house
