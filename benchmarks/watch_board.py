"""Watch the live board of a gateway with one viewer, until SIGTERM.

Reads every frame of the gateway at URL, as the first administrator of the home in the environment:

    python -m benchmarks.watch_board URL
"""

import os
import sys

import django


def create_session() -> str:
    """Write a session of the first administrator, and return its key."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.filter(is_superuser=True)[0])
    return client.cookies["sessionid"].value


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    django.setup()
    from websockets.sync.client import connect
    from websockets.typing import Origin

    url = sys.argv[1]
    headers = {"Cookie": f"sessionid={create_session()}"}
    address = f"{url.replace('http', 'ws', 1)}/ws/live/"
    with connect(
        address, origin=Origin(url), additional_headers=headers, compression=None
    ) as socket:
        print("watching", flush=True)
        for _frame in socket:
            pass


if __name__ == "__main__":
    main()
