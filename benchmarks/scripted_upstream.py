"""A fake upstream that answers each token as it is set to, and counts the requests of each."""

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field

STATUSES = (401, 402, 429, 500)  # the answers of dead tokens, in turns
ANSWER_SECONDS = 0.02
UNSTEADY_SHARE = 0.5  # share of its requests that an unsteady token fails
BEARER = re.compile(rb"authorization: bearer sk-made-up-([0-9a-f]{32})", re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
WHOLE_ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"bench","choices":['
    b'{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
CHUNK = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":%b}]}\n\n'
)
STREAM = CHUNK % b"null" * 3 + CHUNK % b'"stop"' + b"data: [DONE]\n\n"
REFUSAL = b'{"error":{"message":"No.","type":"made_up","code":null}}'


@dataclass(slots=True)
class ScriptedUpstream:
    """The fake upstream.

    `dead_statuses` maps the number of a token that never works to the status it is answered with.
    Tokens in `unsteady_tokens` fail half of their requests. While `is_down` is set, every request
    gets a 503.
    """

    dead_statuses: dict[int, int] = field(default_factory=dict)
    unsteady_tokens: set[int] = field(default_factory=set)
    is_down: bool = False
    requests_by_token: Counter[int] = field(default_factory=Counter)
    port: int = 0
    _server: asyncio.Server | None = None
    _draw: random.Random = field(default_factory=lambda: random.Random(7))

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve_connection, "127.0.0.1", 0, backlog=1_000
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def kill_tokens(self, total: int, share: float, unsteady: int) -> None:
        """Make this share of the tokens dead, and let some of the others fail now and then."""
        numbers = self._draw.sample(range(total), total)
        count = int(total * share)
        self.dead_statuses = {
            number: STATUSES[place % len(STATUSES)] for place, number in enumerate(numbers[:count])
        }
        self.unsteady_tokens = set(numbers[count : count + unsteady])

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                writer.write(await self._answer_request(find_token_number(head), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()  # the caller has left, or the benchmark is over

    async def _answer_request(self, number: int, body: bytes) -> bytes:
        self.requests_by_token[number] += 1
        status = self._choose_status(number)
        if status != 200:
            return encode_response(status, "application/json", REFUSAL)
        await asyncio.sleep(ANSWER_SECONDS)
        if b'"stream":true' in body:
            return encode_response(200, "text/event-stream", STREAM)
        return encode_response(200, "application/json", WHOLE_ANSWER)

    def _choose_status(self, number: int) -> int:
        """Return the status of the next answer to this token."""
        if self.is_down:
            return 503
        if number in self.unsteady_tokens and self._draw.random() < UNSTEADY_SHARE:
            return 500
        return self.dead_statuses.get(number, 200)


def find_token_number(head: bytes) -> int:
    """Return the number of the token that a request brings; -1 when it brings none of ours."""
    bearer = BEARER.search(head)
    return int(bearer[1], 16) if bearer else -1


def encode_response(status: int, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: "
        f"{len(body)}\r\n\r\n"
    )
    return head.encode() + body
