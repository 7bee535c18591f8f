"""Bodies and heads of requests, byte by byte."""

import json

CHAT = "/v1/chat/completions"
CONVERSATIONS = "/v1/conversations"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def encode_post_head(path, *headers, length=None):
    """Return the head of a POST; without a length its body comes in chunks."""
    framing = CHUNKED if length is None else f"Content-Length: {length}\r\n"
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}{framing}\r\n".encode()


def make_chat_body(size):
    """Return a valid chat body of exactly `size` bytes."""
    empty = json.dumps({"model": "m", "messages": [{"role": "user", "content": ""}]}).encode()
    return empty.replace(b'""', b'"%b"' % (b"x" * (size - len(empty))))
