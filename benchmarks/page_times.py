"""Time every page of the desk on the database that `benchmarks.seed_large` filled.

    DATABASE_URL=… PROXYSITE_HOME=… python -m benchmarks.page_times [TEXT …] [--most-ms 300]

Pages are found by the addresses that the gateway knows: the overview, lists with one filter of each
kind, forms for new rows, the newest row of each list, and pages without arguments below /admin/,
/portal/ and /playground/. They are asked for as the administrator, in this process, without a
network. TEXT restricts them to addresses with one of these texts. Exit status 1 when a page takes
longer than --most-ms: the first answer of each page counts, and the median of those that follow is
shown too. `cpu` is the CPU time of Python, which repeats best on a machine that others use.
"""

import argparse
import html
import os
import re
import statistics
import time
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from asgiref.sync import async_to_sync

ROUNDS = 3
OWN_PATHS = ("/admin/", "/portal/", "/playground/")
LEFT_OUT = ("logout", "jsi18n", "password_change", "/r/", "autocomplete")
RANGES = ("1h", "24h", "7d", "30d")
REQUEST_FILTERS = (
    "status=error",
    "origin=ours",
    "origin=upstream&range=24h",
    "model=model-1",
    "provider=provider-1",
    "user=user-1",
    "user=user-4999",
    "key__id__exact=1",
    "stream=no&cost=unknown",
    "error_code=no_such_code",
)


@dataclass(frozen=True, slots=True)
class PageTime:
    """How long one page took: at first, and the median afterwards; with the CPU time of Python."""

    path: str
    status: int
    first_ms: float
    next_ms: float
    cpu_ms: float
    queries: int
    size_bytes: int


def set_up() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    django.setup()
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]


def list_paths(client: Any) -> list[str]:
    """Return the addresses of all pages, each once."""
    overview = [f"/admin/{part}?range={name}" for part in ("", "overview/top") for name in RANGES]
    found = [*overview, *list_admin_paths(client), *list_own_paths()]
    return list(dict.fromkeys(found))


def list_admin_paths(client: Any) -> Iterator[str]:
    """Yield the list of each model, its form for a new row, and the page of its newest row."""
    from django.contrib import admin
    from django.urls import reverse

    for model in sorted(admin.site._registry, key=lambda model: model._meta.label):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield from list_filtered_paths(client, reverse(f"{name}_changelist"))
        yield reverse(f"{name}_add")
        newest = model._base_manager.order_by("-pk").values_list("pk", flat=True).first()
        if newest is not None:
            yield reverse(f"{name}_change", args=[newest])
            yield reverse(f"{name}_history", args=[newest])


def list_filtered_paths(client: Any, path: str) -> Iterator[str]:
    """Yield the list with a search, and with one value of each of its filters, found in its links.

    The list of requests has fields instead of links.
    """
    if "/usagerecord/" in path:
        yield from (f"{path}?{text}" for text in REQUEST_FILTERS)
        return
    content = client.get(path).content.decode()
    if 'id="searchbar"' in content:
        yield f"{path}?q=nothing-has-this-name"
    seen = set()
    for query in re.findall(r'href="\?([^"]+)"', content):
        for name, value in parse_qsl(html.unescape(query)):
            if name not in seen:
                seen.add(name)
                yield f"{path}?{urlencode({name: value})}"


def list_own_paths() -> Iterator[str]:
    """Yield the addresses without arguments that are no part of a model's admin."""
    from django.urls import get_resolver

    for pattern in walk(get_resolver().url_patterns, "/"):
        if pattern.startswith(OWN_PATHS) and "<" not in pattern and "(" not in pattern:
            yield pattern


def walk(entries: Iterable[Any], prefix: str) -> Iterator[str]:
    """Yield the routes of all addresses below these."""
    for entry in entries:
        route = prefix + str(entry.pattern).lstrip("^").removesuffix("$")
        if hasattr(entry, "url_patterns"):
            yield from walk(entry.url_patterns, route)
        else:
            yield route


def read_content(answer: Any) -> bytes:
    """Return the whole body of an answer, which may be a stream, also of an async view."""
    if not answer.streaming:
        return bytes(answer.content)
    if answer.is_async:
        return async_to_sync(join_chunks)(answer.streaming_content)
    return b"".join(answer.streaming_content)


async def join_chunks(chunks: AsyncIterable[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def time_page(client: Any, path: str) -> PageTime:
    """Ask for a page some times."""
    from django.core.cache import cache
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    cache.clear()
    times = []
    cpu_begin = time.process_time()
    for _ in range(ROUNDS):
        started_at = time.perf_counter()
        answer = client.get(path)
        content = read_content(answer)
        times.append((time.perf_counter() - started_at) * 1000)
    cpu_ms = (time.process_time() - cpu_begin) * 1000 / ROUNDS
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    following = statistics.median(times[1:])
    return PageTime(
        path, answer.status_code, times[0], following, cpu_ms, len(queries), len(content)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="only addresses with one of these")
    parser.add_argument("--most-ms", type=float, default=300)
    options = parser.parse_args()
    set_up()
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(raise_request_exception=False)
    client.force_login(User.objects.filter(is_superuser=True)[0])
    client.get("/admin/")  # imports and templates are not what is measured
    slow_count = 0
    print(f"{'first':>8} {'next':>8} {'cpu':>6} {'queries':>7} {'kB':>6}  status page")
    for path in list_paths(client):
        if any(text in path for text in LEFT_OUT):
            continue
        if options.texts and not any(text in path for text in options.texts):
            continue
        page = time_page(client, path)
        is_slow = page.first_ms > options.most_ms
        slow_count += is_slow
        print(
            f"{page.first_ms:8.0f} {page.next_ms:8.0f} {page.cpu_ms:6.0f} {page.queries:7} "
            f"{page.size_bytes / 1000:6.0f}  {page.status}    {page.path}"
            f"{'   SLOW' if is_slow else ''}",
            flush=True,
        )
    if slow_count:
        raise SystemExit(f"{slow_count} pages took more than {options.most_ms:g} ms.")


if __name__ == "__main__":
    main()
