"""Fetch files that a request names by URL.

The addresses are a caller's, so the guard against server-side request forgery decides where a
connection may go, anew for each redirect. Nothing is fetched through an outbound proxy: it looks
names up itself, where the guard cannot see what they lead to. A caller does not learn why a fetch
failed: that would tell about the network of the gateway.
"""

import asyncio
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote

import httpx
from django.conf import settings
from msgspec import Struct

from providers.exceptions import InvalidRequest, ProviderError
from providers.network.api_client import SCHEMES, ApiCall, ApiClient
from providers.network.proxies.outbound_proxy import find_default_proxy
from providers.network.response import HttpAnswer
from providers.network.target import Timeouts
from providers.upstream.upstream_client import USER_AGENT

MOST_REDIRECTS = 3
URL_CHARS = 8_192
HEADERS = f"Accept: */*\r\nUser-Agent: {USER_AGENT}\r\n".encode("ascii")


class FetchedFile(Struct, frozen=True):
    """A file as its server sent it."""

    filename: str
    content_type: str
    data: bytes


async def fetch_files(client: ApiClient, url_by_place: Mapping[str, str]) -> dict[str, FetchedFile]:
    """Return the files at these URLs, by their places in the body.

    Together they may take FILE_URL_SECONDS and have FILE_LIMIT_BYTES. Raises InvalidRequest.
    """
    has_proxy = find_default_proxy(settings.FILE_URL_ALLOW_PRIVATE) is not None
    if has_proxy or not settings.FILE_URL_SECONDS:
        place = next(iter(url_by_place))
        message = "Files at URLs are not fetched here: give them by file_id or file_data."
        raise InvalidRequest(message, param=f"{place}.file_url", code="unsupported_parameter")
    file_by_place: dict[str, FetchedFile] = {}
    room_bytes = settings.FILE_LIMIT_BYTES
    deadline = asyncio.get_running_loop().time() + settings.FILE_URL_SECONDS
    for place, url in url_by_place.items():
        try:
            async with asyncio.timeout_at(deadline):
                file = await fetch_file(client, parse_file_url(url), room_bytes)
        except (ProviderError, TimeoutError, httpx.InvalidURL, ValueError):
            raise unreachable_url_error(place) from None
        room_bytes -= len(file.data)
        file_by_place[place] = file
    return file_by_place


def unreachable_url_error(place: str) -> InvalidRequest:
    return InvalidRequest(
        "The file at this URL cannot be fetched: it must be on a public server, come within "
        f"{settings.FILE_URL_SECONDS:g} seconds and have at most {settings.FILE_LIMIT_BYTES} bytes "
        "together with the others.",
        param=f"{place}.file_url",
        code="file_url_unreachable",
    )


def parse_file_url(text: str) -> httpx.URL:
    """Return a URL that can be fetched. Raises httpx.InvalidURL, ValueError."""
    if len(text) > URL_CHARS:
        raise ValueError("The URL is too long.")
    url = httpx.URL(text)
    if url.scheme not in SCHEMES or not url.host or url.userinfo:
        raise ValueError("The URL has no server, or a user.")
    return url.copy_with(fragment=None)


async def fetch_file(client: ApiClient, url: httpx.URL, room_bytes: int) -> FetchedFile:
    """Return the file at a URL, behind at most MOST_REDIRECTS redirects.

    Raises ProviderError, httpx.InvalidURL, ValueError.
    """
    for _ in range(MOST_REDIRECTS + 1):
        answer = await client.fetch_answer(build_file_call(url, room_bytes))
        if not 300 <= answer.status < 400:
            return read_file_answer(url, answer)
        url = parse_file_url(str(url.join(answer.get_header(b"location"))))
    raise ValueError("There are too many redirects.")


def build_file_call(url: httpx.URL, room_bytes: int) -> ApiCall:
    seconds = settings.FILE_URL_SECONDS
    return ApiCall(
        "GET",
        url,
        allow_private=settings.FILE_URL_ALLOW_PRIVATE,
        timeouts=Timeouts(settings.CONNECT_SECONDS, seconds, seconds, seconds, seconds),
        total_seconds=seconds,
        answer_bytes=room_bytes,
        headers=HEADERS,
    )


def read_file_answer(url: httpx.URL, answer: HttpAnswer) -> FetchedFile:
    """Return the file of a good answer. Raises ValueError for any other."""
    if answer.status != 200:
        raise ValueError("The server has no such file.")
    filename = PurePosixPath(unquote(url.path)).name
    content_type = answer.get_header(b"content-type").partition(";")[0].strip().lower()
    return FetchedFile(filename, content_type, answer.body)
