"""Fixtures that all tests share.

    alice      a user with an API key
    mallory    another user with an API key
    operator   a member of staff with an API key
    upstream   a scriptable upstream
    provider   the row that leads to it, with the model `m`
    token      its first token, `sk-up-1`
    gateway    the real server in the test's own event loop, with these rows loaded
    house      a real `manage.py serve` process that tests share
    own_house   one for the test alone; empty_house, migrated_house   one before its first run

The houses' fixtures stand in `proxysite/testing/house_fixtures.py`. Rows are committed, and
deleted after each test. `@pytest.mark.settings(NAME=value)` changes
settings before the gateway is made.
"""

import asyncio
import gc
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import certifi
import pytest
import uvloop
from django.conf import settings
from pytest_django.plugin import DjangoDbBlocker

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import database, rows
from proxysite.testing.rows import Person
from tokens.models import UpstreamToken

if TYPE_CHECKING:  # each is imported by the first test that needs it
    from proxysite.testing.gateway import RunningGateway
    from proxysite.testing.upstream_server import Upstream


END_OF_CERTIFICATE = "-----END CERTIFICATE-----\n"

pytest_plugins = ["proxysite.testing.house_fixtures", "proxysite.testing.browser"]


def pytest_configure(config: pytest.Config) -> None:
    # each test has an event loop of its own, and two rings of libuv take longer than the loop does;
    # houses run with them
    os.environ["UV_USE_IO_URING"] = "0"
    if "not interop" in config.option.markexpr:  # interop tests download packages
        trust_one_authority()
    gc.disable()  # collecting tests makes objects that stay
    config.addinivalue_line(
        "markers", "settings(**values): Django settings during one test, from before the gateway on"
    )


def trust_one_authority() -> None:
    """Make the system's certificate authorities one: httpx reads all of them for each client.

    Tests speak TLS with authorities that they make themselves. Sets SSL_CERT_FILE.
    """
    first, end, _ = Path(certifi.where()).read_text(encoding="ascii").partition(END_OF_CERTIFICATE)
    file = settings.HOME.root / "authority.pem"
    file.write_text(first + end, encoding="ascii")
    os.environ["SSL_CERT_FILE"] = str(file)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Freeze the garbage collector, as a gateway does; else it walks all tests again and again."""
    from proxysite.asgi import freeze_garbage_collector

    freeze_garbage_collector()
    gc.enable()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the event loop that `serve` uses."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def migrated_file(request: pytest.FixtureRequest) -> Path | None:
    """Return the SQLite file that is copied instead of migrating; None on Postgres.

    It is kept beside pytest's cache until the migrations change.
    """
    if not settings.EMBEDDED_DATABASE:
        return None
    return database.find_migrated_file(request.config.cache.mkdir("migrated"))


@pytest.fixture(scope="session")
def django_db_keepdb(migrated_file: Path | None) -> bool:
    """Let pytest-django use the copy of the migrated file."""
    return migrated_file is not None


@pytest.fixture(scope="session")
def django_db_modify_db_settings(migrated_file: Path | None) -> None:
    """Copy the migrated file, before pytest-django looks for the test database."""
    if migrated_file is not None:
        database.use_migrated_file(migrated_file)


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, migrated_file: Path | None
) -> Iterator[None]:
    """Extend pytest-django's fixture: no thread uses the test database when it is dropped."""
    if migrated_file is not None:
        database.keep_migrated_file(migrated_file)
    yield
    with django_db_blocker.unblock():
        database.close_other_connections()


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Replace pytest-django's fixture by a faster one.

    Commits are real, every thread sees them, and the rows are deleted after the test.
    """
    with django_db_blocker.unblock():
        yield
        rows.sweep_database()


@pytest.fixture(autouse=True)
def _settings_of_mark(request: pytest.FixtureRequest) -> None:
    for mark in request.node.iter_markers("settings"):
        settings = request.getfixturevalue("settings")
        for name, value in mark.kwargs.items():
            setattr(settings, name, value)


@pytest.fixture
def alice(transactional_db: None) -> Person:
    return rows.create_person("alice")


@pytest.fixture
def mallory(transactional_db: None) -> Person:
    return rows.create_person("mallory")


@pytest.fixture
def operator(transactional_db: None) -> Person:
    return rows.create_person("operator", is_staff=True, is_superuser=True)


@pytest.fixture
def ledger_lock(transactional_db: None) -> database.LedgerLock:
    """Return a lock: within `async with ledger_lock:` no usage record can be written."""
    return database.LedgerLock()


@pytest.fixture
def database_proxy(transactional_db: None) -> Iterator[database.DatabaseProxy]:
    """Put a proxy that can freeze before Postgres; request it before `gateway`."""
    from django.db import connection

    if connection.vendor != "postgresql":
        pytest.skip("SQLite is no server that could stop answering")
    with database.DatabaseProxy() as proxy:
        yield proxy


@pytest.fixture
async def upstream() -> AsyncIterator["Upstream"]:
    from proxysite.testing.upstream_server import Upstream

    server = Upstream()
    await server.start()
    yield server
    await server.stop()
    assert not server.failures, server.failures


@pytest.fixture
async def provider(upstream: "Upstream", transactional_db: None) -> Provider:
    return await run_in_thread(rows.create_provider, upstream.url)


@pytest.fixture
async def token(provider: Provider) -> UpstreamToken:
    """Return the provider's first token."""
    (row,) = await run_in_thread(rows.create_tokens, provider, "sk-up-1")
    return row


@pytest.fixture
async def gateway(
    token: UpstreamToken,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator["RunningGateway"]:
    """Run a gateway, and check at its end that it left nothing behind.

    No request may be in flight, noted in the journal or unwritten, and no error may have been
    logged. A test that provokes an error clears caplog.
    """
    from proxysite.testing.gateway import RunningGateway

    monkeypatch.setattr("proxysite.asgi.freeze_garbage_collector", lambda: None)
    # tests rely on the order of tokens
    monkeypatch.setattr("tokens.pool.pool.Pool.shuffle_rotations", lambda pool: None)
    # a test that wants token states written asks for it
    monkeypatch.setattr("tokens.pool.state_writer.TICK_SECONDS", 3_600)
    # ids of keys come again in the next test, and other processes test with the same Redis
    prefix = f"proxysite:test:{uuid4().hex}:"
    monkeypatch.setattr("api.limits.stores.redis_store.KEY_PREFIX", prefix)
    server = RunningGateway()
    await server.start()
    yield server
    await server.stop()
    crashed = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR
    ]
    assert not crashed, crashed


@pytest.fixture
async def three(
    gateway: "RunningGateway", provider: Provider, token: UpstreamToken
) -> list[UpstreamToken]:
    """Return three tokens of the provider, sk-up-1 to sk-up-3, which the gateway has loaded."""
    more = await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3")
    await gateway.reload_rows()
    return [token, *more]


@pytest.fixture
async def second(gateway: "RunningGateway") -> AsyncIterator[tuple["Upstream", Provider]]:
    """Yield a second provider of the model `m`, tried after the first: its upstream and its row."""
    from proxysite.testing.upstream_server import Upstream

    def make_second_provider(url: str) -> Provider:
        row = rows.create_provider(url, "second", models=())
        rows.create_model(row, "m", "second-model", priority=1)
        rows.create_tokens(row, "sk-second-1")
        return row

    server = Upstream()
    await server.start()
    row = await run_in_thread(make_second_provider, server.url)
    await gateway.reload_rows()
    yield server, row
    await server.stop()
    assert not server.failures, server.failures


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the names that were looked up.

    The name `slow.example` never gets an answer; all others lead to this machine.
    """
    from providers.network import name_lookup

    names: list[str] = []
    over = threading.Event()

    def getaddrinfo(name: str, port: int | None, *args: object, **options: object) -> list[Any]:
        names.append(name)
        if name == "slow.example":
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]

    monkeypatch.setattr(name_lookup, "resolver", name_lookup.Resolver())
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield names
    over.set()
