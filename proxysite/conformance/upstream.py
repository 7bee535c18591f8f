"""The faulty upstream: an OpenAI-compatible server that breaks as the model's name says.

    POST …/chat/completions    plays the fault of the model
    GET  …/models              lists the models
    POST /control/reset        clears the log and the attempts; {"timings": {…}} sets timings
    GET  /control/log          lists the requests since then, each with its time in seconds

Credentials are kept as digests. The log keeps the latest LOG_ENTRIES requests.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict

import h11

from providers.protocol.json_types import JsonObject
from proxysite.conformance import faults
from proxysite.conformance.exchange import FaultyExchange, GatewayLeft, LoggedRequest
from proxysite.conformance.timings import PROFILES, read_timings

LOG_ENTRIES = 10_000
BODY_BYTES = 4 * 2**20
IDLE_SECONDS = 75.0


class FaultyUpstream:
    """The server; it listens from `start` to `stop`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, profile: str = "full") -> None:
        self._host = host
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._timings = PROFILES[profile]
        self._clear_log()

    def _clear_log(self) -> None:
        self._since = time.monotonic()
        self._log: deque[LoggedRequest] = deque(maxlen=LOG_ENTRIES)
        self._attempts_by_model: Counter[str] = Counter()

    async def start(self) -> int:
        """Listen, and return the port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept_connection, self._host, self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- connections ------------------------------------------------------------------------------
    async def _accept_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._serve_connection(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, GatewayLeft):
            pass  # the gateway left, or sent something that is not HTTP
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection, one after the other."""
        protocol = h11.Connection(h11.SERVER)
        while (received := await receive_request(protocol, reader, writer)) is not None:
            request, body = received
            exchange = FaultyExchange(
                reader, writer, protocol, make_unlogged_request(), self._timings
            )
            await self._answer_request(request, body, exchange)
            if writer.is_closing() or protocol.our_state is not h11.DONE:
                return
            protocol.start_next_cycle()

    async def _answer_request(
        self, request: h11.Request, body: bytes, exchange: FaultyExchange
    ) -> None:
        path = request.target.split(b"?")[0].decode("latin-1")
        method = request.method.decode("ascii")
        if method == "POST" and path.endswith("/chat/completions"):
            await self._play_fault(request, body, exchange)
        elif method == "GET" and path.endswith("/models"):
            await exchange.send_json(200, list_models())
        elif method == "POST" and path == "/control/reset":
            await self._apply_reset(body, exchange)
        elif method == "GET" and path == "/control/log":
            entries = [asdict(entry) for entry in self._log]
            await exchange.send_json(200, {"log": entries, "timings": asdict(self._timings)})
        else:
            await exchange.send_error_object(404, f"There is no {method} {path} here.", "not_found")

    async def _apply_reset(self, body: bytes, exchange: FaultyExchange) -> None:
        timings = self._timings
        try:
            options = json.loads(body or b"{}")
            if "timings" in options:
                timings = read_timings(options["timings"])
        except (ValueError, TypeError) as error:
            return await exchange.send_error_object(400, str(error), "invalid_value")
        self._timings = timings
        self._clear_log()
        return await exchange.send_json(200, {"timings": asdict(timings)})

    # --- the faults -------------------------------------------------------------------------------
    async def _play_fault(
        self, request: h11.Request, data: bytes, exchange: FaultyExchange
    ) -> None:
        try:
            body = json.loads(data)
            model = normalize_model(str(body["model"]))
        except (ValueError, TypeError, KeyError):
            message = "The body is no chat completion request."
            return await exchange.send_error_object(400, message, "invalid_json")
        exchange.since = self._since
        exchange.logged_request = self._add_to_log(
            model, request, body, exchange.seconds_since_reset
        )
        fault = faults.FAULTS_BY_MODEL.get(model)
        if fault is None:
            return await exchange.send_error_object(
                404, f"There is no model {model!r}.", "model_not_found"
            )
        try:
            return await fault(exchange)
        except GatewayLeft:
            logged = exchange.logged_request
            logged.ending = logged.ending or "the gateway left"
            raise

    def _add_to_log(
        self, model: str, request: h11.Request, body: JsonObject, seconds: float
    ) -> LoggedRequest:
        """Add a request that came after so many seconds to the log, and return its entry."""
        self._attempts_by_model[model] += 1
        messages = body.get("messages")
        logged = LoggedRequest(
            number=len(self._log) + 1,
            at=round(seconds, 4),
            model=model,
            attempt=self._attempts_by_model[model],
            credential=digest_credential(request),
            streams=bool(body.get("stream")),
            last_role=find_last_role(messages),
            prompt_chars=len(json.dumps(messages)),
            body=body,
        )
        self._log.append(logged)
        return logged


def normalize_model(model: str) -> str:
    """Return the name of a model as FAULTS_BY_MODEL has it: `openai/fb-s01-any` is `fb-s01`."""
    name = model.rpartition("/")[2].strip().lower()
    if name in faults.FAULTS_BY_MODEL:
        return name
    return "-".join(name.split("-")[:2])


def find_last_role(messages: object) -> str:
    """Return the role of the last message; "" when a request has no usable messages."""
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return ""
    return str(messages[-1].get("role", ""))


def list_models() -> JsonObject:
    facts = {"object": "model", "created": 0, "owned_by": "wall"}
    return {"object": "list", "data": [{"id": name} | facts for name in faults.FAULTS_BY_MODEL]}


def digest_credential(request: h11.Request) -> str:
    for name, value in request.headers:
        if name == b"authorization":
            return hashlib.sha256(value).hexdigest()[:12]
    return ""


def make_unlogged_request() -> LoggedRequest:
    """Return the entry of a request that is not logged."""
    return LoggedRequest(0, 0.0, "", 0, "", False, "", 0, {})


async def receive_request(
    protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[h11.Request, bytes] | None:
    """Return the connection's next request and its body; None when the connection has ended.

    Raises TimeoutError, h11.ProtocolError, OSError.
    """
    request = None
    body = bytearray()
    async with asyncio.timeout(IDLE_SECONDS):
        while len(body) <= BODY_BYTES:
            event = await receive_event(protocol, reader, writer)
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:  # the connection is closed
                return None
    raise h11.RemoteProtocolError("The body is too large.")


async def receive_event(
    protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> object:
    """Return h11's next event of a connection; a caller that waits for "100 Continue" gets it."""
    while (event := protocol.next_event()) is h11.NEED_DATA:
        if protocol.they_are_waiting_for_100_continue:
            go_on = protocol.send(h11.InformationalResponse(status_code=100, headers=[]))
            writer.write(go_on or b"")
        protocol.receive_data(await reader.read(65_536))
    return event
