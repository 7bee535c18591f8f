"""Which requests take one upstream call and are relayed as they come."""

from types import SimpleNamespace
from typing import Any

import pytest

from conversations.strategies import direct
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.protocol.trace import Trace
from tokens.failover import loop as failover

TOOLS = [{"type": "function", "function": {"name": "clock"}}]


async def generator_for(calling: str, **fields: Any) -> Any:
    """The code of the generator that answers such a request; it is not started."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": TOOLS} | fields
    request = ChatRequest("0" * 32, "chat/completions", "m", body)
    candidates: Any = [SimpleNamespace(model=UpstreamModel("m", tools=calling))]
    pool: Any = None
    batches = direct.answer(request, candidates, pool, Trace(request))
    await batches.aclose()
    return batches.ag_code


@pytest.mark.parametrize(
    "fields", [{}, {"tool_choice": "auto"}, {"tool_choice": "none"}, {"tools": None}]
)
async def test_what_demands_no_call_goes_straight_through(fields: dict[str, Any]) -> None:
    assert await generator_for("prompt", **fields) is failover.answer.__code__


async def test_an_upstream_that_calls_tools_itself_is_not_asked_again() -> None:
    assert await generator_for("native", tool_choice="required") is failover.answer.__code__


async def test_a_demand_to_a_model_that_is_told_in_words_is_watched() -> None:
    assert await generator_for("prompt", tool_choice="required") is not failover.answer.__code__
