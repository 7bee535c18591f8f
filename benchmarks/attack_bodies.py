"""Hostile requests: each once stopped the gateway for everybody, or filled its memory.

`ATTACKS` maps a name to a function that builds an Attack. Attacks are sent with a valid API key,
the requests in `STRANGER_REQUESTS` without one. A body is built when it is needed and is always the
same for the same number: some attacks only work when each body differs from the last.
"""

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

CHAT_COMPLETIONS_PATH = "/v1/chat/completions"
RESPONSES_PATH = "/v1/responses"
INPUT_TOKENS_PATH = "/v1/responses/input_tokens"
BODY_BYTES = 15_500_000
ECHO_BODY = '{"model":"echo","messages":[{"role":"user","content":"hi"}],"x":[%s]}'


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of hostile request.

    `path` is where it is sent; `build_body` builds the body with a given number.
    """

    path: str
    build_body: Callable[[int], bytes]


def random_letters(count: int, number: int) -> str:
    """Return random letters without a space, which are one word for a tokenizer."""
    return "".join(random.Random(number).choices(string.ascii_lowercase, k=count))


def make_counting_attack(text: Callable[[int], str]) -> Attack:
    return Attack(
        INPUT_TOKENS_PATH,
        lambda number: json.dumps({"model": "echo", "input": text(number)}).encode(),
    )


def make_filled_attack(item: str, size_bytes: int = BODY_BYTES) -> Attack:
    """Return a small chat request with many small values in a field that the API does not know."""
    body = (ECHO_BODY % ",".join([item] * (size_bytes // (len(item) + 1)))).encode()
    return Attack(CHAT_COMPLETIONS_PATH, lambda number: body)


def make_chat_attack(count: int, **fields: object) -> Attack:
    messages = [{"role": "user", "content": f"x{number}"} for number in range(count)]
    body = json.dumps({"model": "echo", "messages": messages} | fields).encode()
    return Attack(CHAT_COMPLETIONS_PATH, lambda number: body)


def make_response_attack(count: int) -> Attack:
    items = [{"role": "user", "content": f"x{number}"} for number in range(count)]
    body = json.dumps({"model": "echo", "input": items}).encode()
    return Attack(RESPONSES_PATH, lambda number: body)


def make_tools_attack(count: int) -> Attack:
    tools = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(count)]
    return make_chat_attack(1, tools=tools)


def make_text_attack(content: str) -> Attack:
    body = json.dumps(
        {"model": "echo", "messages": [{"role": "user", "content": content}]}
    ).encode()
    return Attack(CHAT_COMPLETIONS_PATH, lambda number: body)


def make_stream_attack(megabytes: int, event_bytes: int) -> Attack:
    """Return a short request whose streamed answer is long.

    `megabytes` is the size of the answer, `event_bytes` that of each of its events. The answer says
    nothing about its usage.
    """
    content = f"flood {megabytes} {event_bytes}"
    messages = [{"role": "user", "content": content}]
    body = json.dumps({"model": "bench", "stream": True, "messages": messages}).encode()
    return Attack(CHAT_COMPLETIONS_PATH, lambda number: body)


ATTACKS: dict[str, Callable[[], Attack]] = {
    "H2 one word of 15 MB counted": lambda: make_counting_attack(
        lambda number: random_letters(BODY_BYTES, number)
    ),
    "H2 15 MB of blanks counted": lambda: make_counting_attack(lambda number: " " * BODY_BYTES),
    "H2 1 MB of base64 counted": lambda: make_counting_attack(
        lambda number: random_letters(1_000_000, number) + "=="
    ),
    "H2 7 MB in one event, no usage": lambda: make_stream_attack(7, 7_000_000),
    "H2 20 MB streamed, no usage": lambda: make_stream_attack(20, 16_000),
    "H3 440,000 messages": lambda: make_chat_attack(440_000, store=True),
    "H3 100,000 messages": lambda: make_chat_attack(100_000, store=True),
    "H3 20,000 messages": lambda: make_chat_attack(20_000, store=True),
    "H3 2,048 messages": lambda: make_chat_attack(2_048, store=True),
    "H3 440,000 items": lambda: make_response_attack(440_000),
    "H3 2,048 items": lambda: make_response_attack(2_048),
    "H4 15 MB of lists": lambda: make_filled_attack("[]"),
    "H4 15 MB of deep lists": lambda: make_filled_attack("[" * 60 + "]" * 60),
    "H4 15 MB of objects": lambda: make_filled_attack("{}"),
    "H4 as many lists as pass": lambda: make_filled_attack("[]", 290_000),
    "H4 as many deep lists as pass": lambda: make_filled_attack("[" * 60 + "]" * 60, 360_000),
    "H4 128,000 tools": lambda: make_tools_attack(128_000),
    "text of 10 MB (ordinary)": lambda: make_text_attack(
        " ".join(random_letters(8, number) for number in range(1_100_000))
    ),
    "JSON in a text, 12 MB": lambda: make_text_attack(
        json.dumps({"name": "value", "n": 12345}) * 300_000
    ),
    "3.9 million quotes": lambda: make_text_attack('"' * 3_900_000),
}
# a path, and a header that looks like a credential
STRANGER_REQUESTS: dict[str, tuple[str, str]] = {
    "a bogus key": ("/v1/conversations", "Authorization: Bearer bogus"),
    "a bogus cookie": ("/admin/login/", "Cookie: a=b"),
    "a bogus session": ("/admin/login/", "Cookie: sessionid=0123456789abcdefghijklmnopqrstuv"),
    "a bogus key, relayed": (CHAT_COMPLETIONS_PATH, "Authorization: Bearer bogus"),
}
