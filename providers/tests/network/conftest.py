"""A name server whose answers a test sets."""

import socket
import threading

import pytest

from providers.network import name_lookup


class NameServer:
    """Answers of `socket.getaddrinfo`: for each name the addresses of one look-up after another."""

    def __init__(self):
        self.answers = {"slow.example": [["127.0.0.1"]]}
        self.asked = []
        self.over = threading.Event()

    def getaddrinfo(self, name, port, **options):
        self.asked.append(name)
        if name == "slow.example":
            self.over.wait()
        given = self.answers[name]
        addresses = given.pop(0) if len(given) > 1 else given[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


@pytest.fixture
def name_server(monkeypatch, settings):
    settings.DNS_KEEP_SECONDS = settings.DNS_STALE_SECONDS = 0
    found = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    monkeypatch.setattr(name_lookup, "resolver", name_lookup.Resolver())
    yield found
    found.over.set()
