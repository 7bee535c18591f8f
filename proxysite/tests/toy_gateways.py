"""Gateways of a few lines in front of the faulty upstream: a good one, and others with one vice
each.

Each is a script that `proxysite.testing.upstream_server.Upstream` plays, the server that callers
reach.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx

from proxysite.conformance.dialogue import ANSWER_TEXT
from proxysite.conformance.scenarios import HEALTHY_MODEL, SCENARIOS
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, send_refusal, send_stream

FALLBACK = {one.model: one.fallback_model for one in SCENARIOS}
PATIENCE_SECONDS = 0.4  # of the toys with the wall; its faults last longer


@dataclass(slots=True)
class Got:
    """What the wall answered; `is_over`: the stream said that it is complete."""

    model: str
    status: int = 0
    code: str = ""
    text: str = ""
    is_over: bool = False
    usage: Any = None
    retry_after: float = 0.0


class ToyGateway:
    """`do_well` is the good one."""

    def __init__(self, wall_url: str) -> None:
        limit = httpx.Timeout(PATIENCE_SECONDS, pool=None)
        self._client = httpx.AsyncClient(base_url=wall_url, timeout=limit, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    # --- the wall ---------------------------------------------------------------------------------
    async def read(self, model: str, prompt: str = "Hello!") -> Got:
        """Return all that the wall said, up to whatever ended it."""
        got = Got(model)
        body = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": prompt}],
        }
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                got.status = response.status_code
                got.retry_after = float(response.headers.get("retry-after", 0))
                if got.status != 200:
                    got.code = str(json.loads(await response.aread())["error"]["code"])
                    return got
                async for line in response.aiter_lines():
                    self._take(line.removeprefix("data: "), got)
        except httpx.HTTPError:
            pass
        return got

    @staticmethod
    def _take(data: str, got: Got) -> None:
        try:
            event = json.loads(data)
        except ValueError:
            return
        got.usage = event.get("usage") or got.usage
        for choice in event["choices"]:
            got.text += choice["delta"].get("content", "")
            got.is_over = got.is_over or choice["finish_reason"] is not None

    # --- the caller -------------------------------------------------------------------------------
    async def send(self, exchange: Exchange, got: Got, model: str = "") -> None:
        """Pass on a whole answer, or a clear error."""
        if not got.is_over:
            return await send_refusal(
                got.status if got.status >= 400 else 502, "It failed.", got.code
            )(exchange)
        chunks = speech.streamed_completion(got.text)[:-1]
        for chunk in chunks:
            chunk["model"] = model or got.model
        last = {**chunks[0], "choices": [], "usage": got.usage}
        return await send_stream(*chunks, last, DONE)(exchange)

    async def read_well(self, model: str) -> Got:
        """Return the answer of the model, asked again where that helps, or of its fallback."""
        got = await self.read(model)
        if got.status == 429 and got.retry_after:
            await asyncio.sleep(got.retry_after)
            got = await self.read(model)
        elif got.status >= 500:
            got = await self.read(model)
        if not got.is_over and got.code != "content_policy_violation" and model in FALLBACK:
            got = await self.read(FALLBACK[model])
        return got

    async def do_well(self, exchange: Exchange) -> None:
        await self.send(exchange, await self.read_well(exchange.request.json["model"]))

    # --- vices ------------------------------------------------------------------------------------
    async def call_parts_whole(self, exchange: Exchange) -> None:
        """Pass what came of a broken stream off as the answer."""
        got = await self.read(exchange.request.json["model"])
        got.is_over = True
        await self.send(exchange, got)

    async def go_on_with_another(self, exchange: Exchange) -> None:
        """Append the fallback's answer to the part that the caller has."""
        model = exchange.request.json["model"]
        got = await self.read(model)
        if not got.is_over:
            more = await self.read(FALLBACK[model])
            got.text, got.is_over = f"{got.text} {more.text}", True
        await self.send(exchange, got)

    async def hammer(self, exchange: Exchange) -> None:
        """Ask again and again without a pause, then the fallback."""
        model = exchange.request.json["model"]
        for _ in range(10):
            got = await self.read(model)
            if got.is_over or model == HEALTHY_MODEL:
                break
        else:
            got = await self.read(FALLBACK[model])
        await self.send(exchange, got)

    async def never_end(self, exchange: Exchange) -> None:
        await self.read(exchange.request.json["model"])
        await exchange.gateway_left.wait()

    async def make_it_up(self, exchange: Exchange) -> None:
        """Answer without asking anybody."""
        model = exchange.request.json["model"]
        await self.send(
            exchange, Got(model, 200, text=ANSWER_TEXT, is_over=True, usage=speech.token_usage())
        )

    async def hide_the_fallback(self, exchange: Exchange) -> None:
        """Say that the model answered for which the caller asked, whoever did."""
        model = exchange.request.json["model"]
        await self.send(exchange, await self.read_well(model), model)

    async def give_up_once(self, exchange: Exchange) -> None:
        """Answer nothing more after the first fault."""
        if exchange.connection > 1 or exchange.request.json["model"] == HEALTHY_MODEL:
            return await send_refusal(500, "Out of order.")(exchange)
        return await self.do_well(exchange)

    async def never_return(self, exchange: Exchange) -> None:
        """Leave a model that failed alone for ever."""
        model = exchange.request.json["model"]
        first = await self.read(model) if not getattr(self, "_has_failed", False) else Got(model)
        self._has_failed = not first.is_over
        await self.send(exchange, first if first.is_over else await self.read(FALLBACK[model]))
