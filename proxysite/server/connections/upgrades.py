"""Requests that ask for another protocol (`Upgrade`), which a server may ignore (RFC 9110, 7.8).

Java's HTTP client asks for HTTP/2 in each request to a plain address. The parser takes the head of
such a request for the end of HTTP, and leaves its body unread. Therefore its head is parsed once
more without the fields of the upgrade, and the body after it, by a parser of its own.
"""

import asyncio
from collections.abc import Callable, Iterable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from providers.exceptions import GatewayError, UpgradeRequired
from providers.fast_settings import settings
from providers.protocol.relayed_request import REALTIME_PATH
from proxysite.desk.live.board import LIVE_PATH

RESPONSES_PATH = "/v1/responses"
Header = tuple[bytes, bytes]
MakeProtocol = Callable[..., asyncio.Protocol]  # of the configuration and states of the server
UPGRADE_FIELDS = frozenset((b"upgrade", b"http2-settings"))  # also options of `Connection`
WEBSOCKET = b"websocket"
CONNECT = b"CONNECT"  # a method that the parser takes for an upgrade
NO_WEBSOCKET = "There is no WebSocket at this address: send plain HTTP requests."


class PlainHttpProtocol(HttpToolsProtocol):
    """The protocol of uvicorn, for which a request with an upgrade is a request without one.

    `is_upgrade`: the head that has just been read asks for another protocol.
    """

    is_upgrade = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        unread = self.feed_parser(data)
        while unread:
            unread = self.feed_parser(unread)

    def feed_parser(self, data: bytes) -> bytes:
        """Parse the data; return the part to parse anew because its head asks for an upgrade."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self.is_upgrade:
                return self.remove_upgrade(data[upgrade.args[0] :])
        except HttpParserError:
            self.send_400_response("")
        return b""

    def remove_upgrade(self, rest: bytes) -> bytes:
        """Return the head that was read, without its upgrade, and the rest after it.

        A new parser reads them. A WebSocket is opened where there is one and refused elsewhere;
        then nothing more is read here.
        """
        self.is_upgrade = False
        method: bytes = self.parser.get_method()
        if asks_for_websocket(method, self.headers):
            make_protocol = find_websocket_protocol(self.url)
            if make_protocol is not None:
                self.open_websocket(method, make_protocol)
                return b""
            self.refuse_request(UpgradeRequired(NO_WEBSOCKET))
            return b""
        head = build_plain_head(method, self.url, self.parser.get_http_version(), self.headers)
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return head + rest

    def open_websocket(self, method: bytes, make_protocol: MakeProtocol) -> None:
        """Give the connection to a protocol of WebSockets, which reads its head once more."""
        self.connections.discard(self)
        protocol = make_protocol(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        fields = [b"%b: %b" % field for field in self.headers]
        head = [b"%b %b HTTP/1.1" % (method, self.url), *fields, b"", b""]
        protocol.data_received(b"\r\n".join(head))
        self.transport.set_protocol(protocol)

    def refuse_request(self, error: GatewayError) -> None:
        """Answer with an error object and close, without asking the application."""
        raise NotImplementedError

    def on_headers_complete(self) -> None:
        self.is_upgrade = self.parser.should_upgrade() and self.parser.get_method() != CONNECT
        if not self.is_upgrade:
            super().on_headers_complete()


def find_websocket_protocol(url: bytes) -> MakeProtocol | None:
    """Return the protocol of the WebSockets at an address, or None where there are none.

    Its module is loaded by the first one.
    """
    path = url.partition(b"?")[0]
    if path == LIVE_PATH.encode():
        from proxysite.server.connections.viewer_connection import ViewerConnection

        return ViewerConnection
    if path == REALTIME_PATH.encode():
        from proxysite.server.connections.session_connection import SessionConnection

        return SessionConnection
    if path == RESPONSES_PATH.encode() and settings.RESPONSE_SOCKETS:
        from proxysite.server.connections.turn_connection import TurnConnection

        return TurnConnection
    return None


def asks_for_websocket(method: bytes, headers: Iterable[Header]) -> bool:
    """Return whether this is the first request of a WebSocket, which is a GET."""
    return method == b"GET" and any(
        name == b"upgrade" and value.strip().lower() == WEBSOCKET for name, value in headers
    )


def build_plain_head(method: bytes, url: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """Return the bytes of a request's head without its upgrade; all other fields stay."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        plain_value = remove_upgrade_options(value) if name == b"connection" else value
        if name not in UPGRADE_FIELDS and (plain_value or name != b"connection"):
            lines.append(b"%b: %b" % (name, plain_value))
    return b"\r\n".join([*lines, b"", b""])


def remove_upgrade_options(value: bytes) -> bytes:
    """Return the value of a field `Connection` without the options of an upgrade."""
    options = [option.strip() for option in value.split(b",")]
    return b", ".join(option for option in options if option.lower() not in UPGRADE_FIELDS)
