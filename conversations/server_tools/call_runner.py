"""Run the calls of one round at the same time, within the bounds of the request."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from conversations.server_tools.mcp_tools import McpServerTool
from conversations.server_tools.server_tool import (
    COMPLETED,
    IN_PROGRESS,
    ServerTool,
    ToolCall,
    ToolOutcome,
)
from conversations.server_tools.tool_plan import ReadyTools
from providers.protocol.chunks import Chunk, make_item_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest

NO_CALLS_LEFT = "This call was not made, because there are no calls left."
TOO_SLOW = "The tool took too long."


class RoundCall(Struct):
    """One call of a round; `tool` is None when it is not made, and `output` says why."""

    call: ToolCall
    key: str  # of its item in the answer
    tool: ServerTool | None = None
    output: str = ""


class CallRunner:
    """The calls of one request: at most `most_calls`, until `ends_at` on the performance clock."""

    def __init__(
        self, request: ChatRequest, tools: ReadyTools, most_calls: int, ends_at: float
    ) -> None:
        self._request = request
        self._tools = tools
        self._ends_at = ends_at
        self._keys = count()
        self._round_calls: list[RoundCall] = []
        self.calls_left = most_calls
        self.awaits_approval = False
        self.log: list[JsonObject] = []  # an entry for each call that was made

    @property
    def seconds_left(self) -> float:
        return self._ends_at - time.perf_counter()

    @property
    def may_call(self) -> bool:
        return self.calls_left > 0 and self.seconds_left > 0

    def begin_calls(self, calls: Sequence[ToolCall]) -> list[Chunk]:
        """Begin calls; return the chunks with their items, or with requests for an approval."""
        self._round_calls = [RoundCall(call, f"call {next(self._keys)}") for call in calls]
        chunks = []
        for entry in self._round_calls:
            chunks += self._begin_call(entry)
        return chunks

    def _begin_call(self, entry: RoundCall) -> list[Chunk]:
        """Begin a call unless it needs an approval or there are no calls left."""
        tool = self._tools.find_tool(entry.call.name)
        if tool is None or not self.may_call:
            entry.output = NO_CALLS_LEFT
            return []
        if isinstance(tool, McpServerTool) and tool.needs_approval and not entry.call.approval_id:
            self.awaits_approval = True
            item = tool.build_approval_item(entry.call)
            return [make_item_chunk(self._request, entry.key, item, COMPLETED)]
        self.calls_left -= 1
        entry.tool = tool
        item = tool.build_item(entry.call)
        return [make_item_chunk(self._request, entry.key, item, IN_PROGRESS)]

    async def finish_calls(self) -> tuple[list[Chunk], list[JsonObject]]:
        """Run the calls that have begun; return the chunks of their ends, and their messages."""
        running = [(entry, entry.tool) for entry in self._round_calls if entry.tool is not None]
        outcomes = await asyncio.gather(
            *(self._run_call(entry.call, tool) for entry, tool in running)
        )
        chunks = []
        for (entry, _), outcome in zip(running, outcomes, strict=True):
            entry.output = outcome.output
            chunks.append(make_item_chunk(self._request, entry.key, outcome.item, outcome.status))
        messages = [
            {"role": "tool", "tool_call_id": entry.call.id, "content": entry.output}
            for entry in self._round_calls
        ]
        return chunks, messages

    async def _run_call(self, call: ToolCall, tool: ServerTool) -> ToolOutcome:
        """Run a call within the time that is left; add an entry to the log."""
        started = time.perf_counter()
        seconds = max(0.001, self.seconds_left)
        try:
            async with asyncio.timeout(seconds):
                outcome = await tool.run(call, seconds)
        except TimeoutError:
            outcome = tool.make_failure(call, TOO_SLOW)
        tool_name = tool.called_tool
        self.log.append(
            {
                "tool": ".".join(filter(None, (tool_name.namespace, tool_name.name))),
                "status": outcome.status,
                "ms": round((time.perf_counter() - started) * 1000),
                "output_bytes": len(outcome.output.encode("utf-8", "replace")),
            }
        )
        return outcome
