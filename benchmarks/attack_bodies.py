"""Hostile requests: each once stopped the gateway for everybody, or filled its memory.

`ATTACKS` maps a name to a function that builds an Attack. Attacks are sent with a valid API key,
the requests in `STRANGERS` without one. A body is built when it is needed and is always the same
for the same number: some attacks only work when each body differs from the last.
"""

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COUNT = "/v1/responses/input_tokens"
BODY_BYTES = 15_500_000
ECHO = '{"model":"echo","messages":[{"role":"user","content":"hi"}],"x":[%s]}'


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of hostile request.

    `path` is where it is sent; `body` builds the body with a given number.
    """

    path: str
    body: Callable[[int], bytes]


def letters(count: int, number: int) -> str:
    """Return random letters without a space, which are one word for a tokenizer."""
    return "".join(random.Random(number).choices(string.ascii_lowercase, k=count))


def counted(text: Callable[[int], str]) -> Attack:
    return Attack(
        COUNT, lambda number: json.dumps({"model": "echo", "input": text(number)}).encode()
    )


def filled(item: str, size_bytes: int = BODY_BYTES) -> Attack:
    """Return a small chat request with many small values in a field that the API does not know."""
    body = (ECHO % ",".join([item] * (size_bytes // (len(item) + 1)))).encode()
    return Attack(CHAT, lambda number: body)


def chat(count: int, **fields: object) -> Attack:
    messages = [{"role": "user", "content": f"x{number}"} for number in range(count)]
    body = json.dumps({"model": "echo", "messages": messages} | fields).encode()
    return Attack(CHAT, lambda number: body)


def response(count: int) -> Attack:
    items = [{"role": "user", "content": f"x{number}"} for number in range(count)]
    body = json.dumps({"model": "echo", "input": items}).encode()
    return Attack(RESPONSES, lambda number: body)


def tools(count: int) -> Attack:
    listed = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(count)]
    return chat(1, tools=listed)


def text(content: str) -> Attack:
    body = json.dumps(
        {"model": "echo", "messages": [{"role": "user", "content": content}]}
    ).encode()
    return Attack(CHAT, lambda number: body)


def streamed(megabytes: int, event_bytes: int) -> Attack:
    """Return a short request whose streamed answer is long.

    `megabytes` is the size of the answer, `event_bytes` that of each of its events. The answer says
    nothing about its usage.
    """
    content = f"flood {megabytes} {event_bytes}"
    asked = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": content}]}
    return Attack(CHAT, lambda number: json.dumps(asked).encode())


ATTACKS: dict[str, Callable[[], Attack]] = {
    "H2 one word of 15 MB counted": lambda: counted(lambda number: letters(BODY_BYTES, number)),
    "H2 15 MB of blanks counted": lambda: counted(lambda number: " " * BODY_BYTES),
    "H2 1 MB of base64 counted": lambda: counted(lambda number: letters(1_000_000, number) + "=="),
    "H2 7 MB in one event, no usage": lambda: streamed(7, 7_000_000),
    "H2 20 MB streamed, no usage": lambda: streamed(20, 16_000),
    "H3 440,000 messages": lambda: chat(440_000, store=True),
    "H3 100,000 messages": lambda: chat(100_000, store=True),
    "H3 20,000 messages": lambda: chat(20_000, store=True),
    "H3 2,048 messages": lambda: chat(2_048, store=True),
    "H3 440,000 items": lambda: response(440_000),
    "H3 2,048 items": lambda: response(2_048),
    "H4 15 MB of lists": lambda: filled("[]"),
    "H4 15 MB of deep lists": lambda: filled("[" * 60 + "]" * 60),
    "H4 15 MB of objects": lambda: filled("{}"),
    "H4 as many lists as pass": lambda: filled("[]", 290_000),
    "H4 as many deep lists as pass": lambda: filled("[" * 60 + "]" * 60, 360_000),
    "H4 128,000 tools": lambda: tools(128_000),
    "text of 10 MB (ordinary)": lambda: text(
        " ".join(letters(8, number) for number in range(1_100_000))
    ),
    "JSON in a text, 12 MB": lambda: text(json.dumps({"name": "value", "n": 12345}) * 300_000),
    "3.9 million quotes": lambda: text('"' * 3_900_000),
}
STRANGERS: dict[str, tuple[str, str]] = {  # a path, and a header that looks like a credential
    "a bogus key": ("/v1/conversations", "Authorization: Bearer bogus"),
    "a bogus cookie": ("/admin/login/", "Cookie: a=b"),
    "a bogus session": ("/admin/login/", "Cookie: sessionid=0123456789abcdefghijklmnopqrstuv"),
    "a bogus key, relayed": (CHAT, "Authorization: Bearer bogus"),
}
