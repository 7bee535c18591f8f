"""Every upstream of the K2Think and Kimi proxies, asked by the official `openai` package through a
real process.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from providers.tests.kimi_site import Site, jwt, rest_says, web_says
from proxysite.testing import speech, wait_until_true
from proxysite.testing.house import make_house
from proxysite.testing.upstream import DONE, Exchange, Script, send_reply, send_stream

ASK: list[Any] = [{"role": "user", "content": "Hello!"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}}</tool_call>'

NATIVE = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
}

ROWS = """
from providers.models import ChatModel, Provider
from tokens.imports.token_import import import_lines
for name, kind, token, fields, model in {rows!r}:
    fields |= dict(base_url={url!r}, allow_private=True)
    row = Provider.objects.create(name=name, kind=kind, **fields)
    ChatModel.objects.create(provider=row, public_id=name, upstream_name="upstream-model", **model)
    import_lines(row, [token] if token else [])
"""
PROMPT = {"native_tools": False, "reports_usage": False}
UPSTREAMS: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    ("k2-official", "openai_compatible", "sk-k2-official", PROMPT, {"thinking_format": "implied"}),
    ("k2-user", "k2think_web", "k2-session-token", PROMPT, {}),
    ("k2-guest", "k2think_web", "", PROMPT | {"mode": "guest"}, {}),
    ("moonshot", "moonshot", "sk-moonshot", {}, {}),
    ("kimi-code", "kimi_code", "sk-kimi-made-up", {}, {}),
    ("kimi-web", "kimi_web", jwt("web"), PROMPT, {}),
    ("kimi-rest", "kimi_rest", jwt("rest"), PROMPT, {}),
]


def openai_says(*texts: str) -> Script:
    """Whole or streamed, as it is asked."""

    async def script(exchange: Exchange) -> None:
        if exchange.request.json.get("stream"):
            await send_stream(*speech.streamed_completion(*texts), DONE)(exchange)
        else:
            await send_reply(speech.chat_completion("".join(texts)))(exchange)

    return script


def k2_says(*texts: str) -> Script:
    """Snapshots of a text that grows."""
    grown = ["".join(texts[: end + 1]) for end in range(len(texts))]
    return send_stream(*({"choices": [{"delta": {"content": text}}]} for text in grown), "[DONE]")


class Endless(deque[Script]):
    """Turns of Kimi's site that are all the same."""

    def popleft(self) -> Script:
        return self[0]


def kimi_says(kind: str, *texts: str) -> Script:
    site = Site(kind)
    site.turns = Endless([web_says(*texts) if kind == "kimi_web" else rest_says(*texts)])
    return site


SAYS: dict[str, Callable[..., Script]] = {
    "openai_compatible": openai_says,
    "moonshot": openai_says,
    "kimi_code": openai_says,
    "k2think_web": k2_says,
    "kimi_web": partial(kimi_says, "kimi_web"),
    "kimi_rest": partial(kimi_says, "kimi_rest"),
}


@pytest.fixture(scope="module")
def furnished(_furnished: Any, _listener: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """A house with these upstreams, all at one address: what answers there is the test's.

    It is none that other tests share, because they would find these upstreams.
    """
    url = f"http://127.0.0.1:{_listener.getsockname()[1]}/v1"
    home = tmp_path_factory.mktemp("house") / "home"
    with make_house(home, template=_furnished[0]) as house:
        house.run_manage_command("shell", "-c", ROWS.format(rows=UPSTREAMS, url=url))
        house.start()
        yield house


@pytest.fixture(params=UPSTREAMS, ids=[row[0] for row in UPSTREAMS])
def upstream_row(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def client(
    furnished: Any, house_key: str, house_upstream: Any, upstream_row: Any
) -> AsyncIterator[AsyncOpenAI]:
    """The package's client, when the house has the upstream's model and token in force."""
    name, kind = upstream_row[:2]
    house_upstream.set_default_script(SAYS[kind]("Ready."))
    async with AsyncOpenAI(
        base_url=f"{furnished.url}/v1", api_key=house_key, max_retries=0
    ) as found:

        async def answers() -> bool:
            try:
                return bool(await found.chat.completions.create(model=name, messages=ASK))
            except APIStatusError:
                return False

        await wait_until_true(answers)
        yield found


async def test_an_answer_is_the_same_whole_and_streamed(
    client: AsyncOpenAI, house_upstream: Any, upstream_row: Any
) -> None:
    name, kind = upstream_row[:2]
    thinks = "<think>Hm.</think>" if name.startswith("k2") else ""
    house_upstream.set_default_script(SAYS[kind](f"{thinks}Grüß ", "Gott", "!"))
    whole = await client.chat.completions.create(model=name, messages=ASK)
    message = whole.choices[0].message
    assert message.content == "Grüß Gott!"
    assert getattr(message, "reasoning_content", "") == ("Hm." if thinks else "")
    chunks = await client.chat.completions.create(model=name, messages=ASK, stream=True)
    choices = [chunk.choices[0] async for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "Grüß Gott!"
    assert (
        "".join(getattr(choice.delta, "reasoning_content", None) or "" for choice in choices)
        == thinks[7:10]
    )
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]


async def test_a_tool_is_called(
    client: AsyncOpenAI, house_upstream: Any, upstream_row: Any
) -> None:
    name, kind, _, fields, _ = upstream_row
    if fields.get("native_tools", True):
        house_upstream.set_default_script(
            send_reply(
                speech.chat_completion(None, finish="tool_calls", message={"tool_calls": [NATIVE]})
            )
        )
    else:
        house_upstream.set_default_script(SAYS[kind](CALL))
    answer = await client.chat.completions.create(model=name, messages=ASK, tools=[WEATHER])
    [called] = answer.choices[0].message.tool_calls or []
    assert isinstance(called, ChatCompletionMessageFunctionToolCall)
    assert (called.function.name, json.loads(called.function.arguments)) == (
        "weather",
        {"city": "Graz"},
    )
    assert answer.choices[0].finish_reason == "tool_calls"
