"""A fake upstream that streams as many megabytes as the request asks for, without usage.

A request with the text `flood <megabytes> <bytes per event>` gets such a stream, any other request
a short whole answer. `with run_flood_upstream() as port` runs it in a process of its own.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FLOOD_REQUEST = re.compile(rb"flood (\d+) (\d+)")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNK: dict[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "bench",
}
MESSAGE = {"role": "assistant", "content": "Hello."}
COMPLETION = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench"}


def encode_flood_event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({**CHUNK, "choices": [choice]}).encode()


async def answer_flood_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, and close the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    body = await reader.readexactly(int(length[1]) if length else 0)
    if flood := FLOOD_REQUEST.search(body):
        megabytes = int(flood[1])
        event_bytes = int(flood[2])
        piece = encode_flood_event({"content": "lorem ipsum " * (event_bytes // 12)})
        writer.write(HEAD + encode_flood_event({"role": "assistant", "content": ""}))
        for _ in range(megabytes * 1_000_000 // event_bytes):
            writer.write(piece)
            await writer.drain()
        writer.write(encode_flood_event({}, "stop") + b"data: [DONE]\n\n")
    else:
        whole = json.dumps(
            {**COMPLETION, "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}
        ).encode()
        start = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: "
            b"close\r\ncontent-length: %d\r\n\r\n"
        )
        writer.write(start % len(whole) + whole)
    await writer.drain()
    writer.close()


async def serve_flood() -> None:
    server = await asyncio.start_server(answer_flood_request, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def run_flood_upstream() -> Iterator[int]:
    """Run the fake upstream during the block; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.flood"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve_flood())
