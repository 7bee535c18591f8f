"""Viewers of the live board, over real sockets."""

import asyncio
import json
from contextlib import asynccontextmanager

from django.contrib.auth.models import Permission, User
from django.test import Client
from websockets.asyncio.client import connect

from providers.database.database_threads import run_in_thread
from proxysite.testing import PATIENCE_SECONDS

MAY_WATCH = ("view_usagerecord",)
MAY_WATCH_ALL = ("view_usagerecord", "view_upstreamtoken")


def sign_in_staff(*permissions, name="watcher", **fields):
    """A signed-in member of staff with these permissions: the session's cookie, and the user."""
    user = User.objects.create_user(name, **({"is_staff": True} | fields))
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}", user


async def sign_in(*permissions, **fields):
    return await run_in_thread(sign_in_staff, *permissions, **fields)


@asynccontextmanager
async def open_board(gateway, cookie, origin=None, **options):
    """The frames of the board, as a browser's WebSocket hears them."""
    url = f"{gateway.url.replace('http', 'ws')}/ws/live/"
    headers = {"Cookie": cookie} if cookie else {}
    origin = gateway.url if origin is None else origin
    async with connect(
        url, origin=origin or None, additional_headers=headers, compression=None, **options
    ) as socket:
        yield Board(socket)


class Board:
    """The board as the page's script knows it: each frame on top of those before."""

    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.finished = {}
        self.changes = {}
        self.lists = {"tasks": [], "breakers": []}

    async def read_frame(self):
        frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        for row in frame["finished"]:
            self.finished[row["id"]] = row
        for row in frame.get("changes", ()):
            self.changes[row["pk"]] = row
        self.lists |= {name: frame[name] for name in self.lists if name in frame}
        return frame

    async def read_until(self, find, seconds=PATIENCE_SECONDS):
        """Read frames until `find(frame)` is true, and return what it found."""
        async with asyncio.timeout(seconds):
            while True:
                if found := find(await self.read_frame()):
                    return found
