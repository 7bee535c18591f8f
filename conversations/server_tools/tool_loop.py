"""Answer a request whose model may call tools that the gateway runs.

Each round is an answer by the model's strategy. When it ends with calls of such tools, they are
run, and their results go to the model in the next round. Calls of the caller's own tools end the
answer and go to the caller. The rounds are inner calls of one request: one meter, one trace, one
usage record. The chunks of all rounds make one answer (`round_reader.py`).
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from django.conf import settings
from msgspec import structs

from conversations.server_tools.call_runner import CallRunner
from conversations.server_tools.mcp_tools import McpSource
from conversations.server_tools.round_reader import RoundReader
from conversations.server_tools.server_tool import ServerTool, ToolCall
from conversations.server_tools.tool_plan import ReadyTools, ToolPlan
from conversations.server_tools.whole_answer import fold_pieces
from providers.protocol.chunks import Batches, Chunk, make_item_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace

AnswerRound = Callable[[ChatRequest, Trace], Batches]
FREE_CHOICES = (None, "auto", "none")


class ToolLoop:
    """The rounds of one request; `answer_round` makes one upstream answer by its strategy."""

    def __init__(
        self, plan: ToolPlan, request: ChatRequest, trace: Trace, answer_round: AnswerRound
    ) -> None:
        self._plan = plan
        self._request = request
        self._trace = trace
        self._answer_round = answer_round
        self._messages: list[JsonObject] = list(request.body["messages"])
        self._round_number = 0
        self._hidden_thinking = ""  # of the last round, which its upstream wants back

    async def answer(self) -> Batches:
        """Yield the answer, streamed or whole. Raises GatewayError."""
        try:
            async with aclosing(self._relay_answer()) as batches:
                async for batch in batches:
                    yield batch
        finally:
            for source in self._plan.mcp_sources:
                source.close()

    async def _relay_answer(self) -> Batches:
        """Yield the chunks of all rounds, or the whole answer that they make up."""
        chunks: list[Chunk] = []
        async with aclosing(self._relay_rounds()) as batches:
            async for batch in batches:
                if self._request.stream:
                    yield batch
                else:
                    chunks += batch
        if not self._request.stream:
            yield [fold_pieces(chunks)]

    async def _relay_rounds(self) -> Batches:
        """Yield the chunks of the approved calls and of all rounds."""
        tools, waiting_chunks = await read_tool_lists(self._plan, self._request)
        self._tools = tools
        self._runner = CallRunner(
            self._request,
            tools,
            self._plan.most_calls,
            self._trace.started_seconds + settings.SERVER_TOOL_SECONDS,
        )
        self._reader = RoundReader(
            self._request,
            tools,
            self._plan.sources,
            restarts_positions=self._plan.shows_items,
        )
        if calls := self._list_approved_calls():
            yield [*waiting_chunks, *self._runner.begin_calls(calls)]
            waiting_chunks, messages = await self._runner.finish_calls()
            self._messages += [make_call_message(calls), *messages]
        async with aclosing(self._relay_until_answered(waiting_chunks)) as batches:
            async for batch in batches:
                yield batch

    async def _relay_until_answered(self, waiting_chunks: list[Chunk]) -> Batches:
        """Yield rounds until one calls none of the gateway's tools.

        `waiting_chunks` come with the first chunk of an upstream, so that an error before it keeps
        its HTTP status.
        """
        while True:
            is_last = self._is_last_round()
            async with aclosing(self._relay_round(is_last=is_last)) as batches:
                async for batch in batches:
                    yield [*waiting_chunks, *batch]
                    waiting_chunks = []
            calls = [] if is_last else self._reader.list_server_calls()
            if not calls:
                break
            self._messages += self._build_round_messages()
            yield [*waiting_chunks, *self._runner.begin_calls(calls)]
            waiting_chunks = []
            chunks, messages = await self._runner.finish_calls()
            self._messages += messages
            yield chunks
            if self._reader.has_caller_calls or self._runner.awaits_approval:
                break
        yield [*waiting_chunks, *self._reader.make_final_chunks()]

    def _is_last_round(self) -> bool:
        """Return whether the model has to answer in the next round."""
        return self._round_number + 1 >= settings.SERVER_TOOL_ROUNDS or not self._runner.may_call

    async def _relay_round(self, *, is_last: bool) -> Batches:
        """Yield the caller's part of one upstream answer; record its attempts in the trace."""
        request = self._build_round_request(is_last=is_last)
        trace = self._trace
        if self._round_number:
            trace = self._trace.begin_inner(request, self._trace.claim_next_call)
        try:
            async with aclosing(self._read_round(request, trace)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._record_round(trace)
        if batch := self._reader.finish_round():
            yield batch

    async def _read_round(self, request: ChatRequest, trace: Trace) -> Batches:
        """Yield the caller's part of each batch of one upstream answer."""
        self._reader.begin_round()
        async with aclosing(self._answer_round(request, trace)) as batches:
            async for batch in batches:
                if callers_batch := self._reader.read_batch(batch):
                    yield callers_batch

    def _build_round_messages(self) -> list[JsonObject]:
        """Return the messages of the last round, with the thinking that its upstream wants back."""
        messages = self._reader.build_messages()
        for message in messages:
            if self._hidden_thinking and message.get("tool_calls"):
                message.setdefault("reasoning_content", self._hidden_thinking)
        return messages

    def _record_round(self, trace: Trace) -> None:
        """Add an inner trace to that of the request, and note which calls were made before."""
        attempt = trace.answering_attempt
        self._hidden_thinking = ""
        if attempt is not None and attempt.keeps_thinking:
            self._hidden_thinking = "".join(attempt.hidden_thinking or ())
        if trace is not self._trace:
            log = self._runner.log
            names = ", ".join(f"{entry['tool']} {entry['status']}" for entry in log[-8:])
            self._trace.add_attempts(trace, f"after {names}" if names else "next round")
            self._trace.strategy_result.thinking |= trace.strategy_result.thinking
        if self._runner.log:
            self._trace.strategy_result.thinking["server_tools"] = self._runner.log
        self._round_number += 1

    def _build_round_request(self, *, is_last: bool) -> ChatRequest:
        """Return the request of the next round: all messages so far, and the tools of both."""
        body = {**self._request.body, "messages": list(self._messages)}
        functions = self._tools.build_functions()
        if functions:
            body["tools"] = [*(body.get("tools") or ()), *functions]
        choice = self._choose_tools(body.get("tool_choice"), is_last=is_last)
        if not body.get("tools"):
            choice = None
        body.pop("tool_choice", None)
        if choice is not None:
            body["tool_choice"] = choice
        return structs.replace(
            self._request, body=body, original=None, wants_stored_chat=False, resume=None
        )

    def _choose_tools(
        self, choice: str | JsonObject | None, *, is_last: bool
    ) -> str | JsonObject | None:
        """Return the `tool_choice` of the next round; a call is forced in the first one only."""
        if is_last:
            return "none"
        if not self._round_number and not self._plan.approved_calls:
            return self._tools.build_first_choice() or choice
        return choice if choice in FREE_CHOICES else "auto"

    def _list_approved_calls(self) -> list[ToolCall]:
        """Return the calls that the caller has approved, of tools that are still offered."""
        calls = []
        for approved in self._plan.approved_calls:
            name = self._tools.find_mcp_name(approved.label, approved.name)
            if name is not None:
                call_id = f"call_{approved.approval_id}"
                calls.append(ToolCall(call_id, name, approved.arguments, approved.approval_id))
        return calls


def answer_with_tools(
    plan: ToolPlan, request: ChatRequest, trace: Trace, answer_round: AnswerRound
) -> Batches:
    """Yield the answer to a request with tools that the gateway runs. Raises GatewayError."""
    return ToolLoop(plan, request, trace, answer_round).answer()


async def read_tool_lists(plan: ToolPlan, request: ChatRequest) -> tuple[ReadyTools, list[Chunk]]:
    """Return all tools of a request, and the chunks with the lists of its MCP servers."""
    tools: list[ServerTool] = list(plan.tools)
    chunks: list[Chunk] = []
    lists = await asyncio.gather(*(source.read_tools() for source in plan.mcp_sources))
    for place, (mcp_tools, item, status) in enumerate(lists):
        tools += mcp_tools
        source: McpSource = plan.mcp_sources[place]
        if source.shows_list or status != "completed":
            chunks.append(make_item_chunk(request, f"list {place}", item, status))
    return ReadyTools(plan, tools), chunks


def make_call_message(calls: list[ToolCall]) -> JsonObject:
    """Return the model's message with these calls."""
    tool_calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": tool_calls}
