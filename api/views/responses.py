"""POST /v1/responses: a chat completion in the form of OpenAI's Responses API.

A response is stored unless the body or the API key says otherwise. In a conversation it is always
remembered. A response in the background runs on when the caller leaves. The caller gets its state
at once, or its events when it streams.
"""

import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import orjson
from django.conf import settings
from django.http import HttpResponseBase

from api.authentication import Caller
from api.exceptions import door
from api.idempotency.replay import idempotent
from api.relay import conversation_options, error_fields
from api.relay.gateway import Gateway, LeanRequest
from api.responses import encrypted_reasoning, input_items, schema, to_chat
from api.responses.background_runner import Feed, Place
from api.responses.echoed_fields import repeated
from api.responses.events import Events
from api.responses.objects import Head, Outcome, head_of, response_object
from api.responses.part_events import Event
from api.responses.renderer import EventRenderer, lines
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.streaming.stream_answer import JsonAnswer, StreamAnswer
from api.views.base import require_json
from api.views.chat import Thinking, answering, chat_request, meaning, render_answer
from conversations.history import start_turn
from conversations.history.conversation_lookup import Asked
from conversations.history.recorder import Recalled
from conversations.messages import items
from conversations.models import Conversation, Door, Item
from providers.catalogue import Meaning
from providers.database.database_threads import TURNS, in_time
from providers.exceptions import GatewayError
from providers.protocol.chunks import Batches
from providers.protocol.request import CHAT

DOOR = "responses"


async def create(request: LeanRequest) -> HttpResponseBase:
    """Answer one response request.

    Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.whole_body()
    body = await read_beside_loop(schema.read, raw)
    asked_for = Requested(body, len(raw), began)
    if not body.get("background"):
        return await answer(request, caller, asked_for, None)
    with gateway.background.take_place(caller.user_id or 0, gateway.in_flight) as place:
        return await answer(request, caller, asked_for, place)


@dataclass(frozen=True, slots=True)
class Requested:
    """A request's body, its size in bytes, and the time when it came, on the monotonic clock."""

    body: dict[str, Any]
    size_bytes: int
    began: float


async def answer(
    request: LeanRequest, caller: Caller, asked_for: Requested, place: Place | None
) -> HttpResponseBase:
    """Answer the request; in the background when it has a `place` there.

    Writes the usage record, and the turn when the response is to be remembered. Raises
    GatewayError.
    """
    gateway = request.gateway
    body = asked_for.body
    began = asked_for.began
    meant = meaning(gateway, caller, body["model"])
    caller.require_own_choice(body)
    if named := input_items.references(body):
        body = input_items.resolved(
            body,
            await in_time(
                await TURNS.start_for(caller.user_id, own_items, caller, list(named.values()))
            ),
        )
    body = encrypted_reasoning.opened(body)
    places = error_fields.of_response(body)
    try:
        size_bytes = asked_for.size_bytes
        asking_of = partial(asked_of, gateway, caller, request.request_id, body, meant)
        asked = await call_beside_loop(size_bytes, asking_of)
        recalled, said = await recall(gateway, asked, body)
        chat = await call_beside_loop(size_bytes, partial(to_chat.chat_body, body, said))
        if body.get("background"):
            chat["stream"] = True
        created_at = recalled.turn.begun.created_at if recalled else int(time.time())
        head = head_of(body, asked.request_id, created_at, stored=asked.stored)
        thinking = Thinking(meant.public_id, asked_for.size_bytes, paths=body.get("mpr_candidates"))
        question = msgspec.structs.replace(
            chat_request(request.request_id, CHAT, chat, meant, recalled), door=DOOR
        )
        places.told = chat
        answered = await answering(gateway, caller, question, thinking, recalled)
        trace, batches = answered
        if recalled is not None and place is not None:
            events = Events(head, recalled.turn.answer)
            ends = place.keep(), request.keep_body()
            feed = gateway.background.begin(recalled.turn, trace, (batches, events), *ends)
            return in_background(request, feed, head, began, streamed=bool(body.get("stream")))
        renderer = EventRenderer(trace, head, recalled.turn.answer if recalled else None)
        return await render_answer(request, answered, renderer, places, began)
    except GatewayError as error:
        places.rename(error)
        raise


responses = door("POST")(idempotent(create))


def asked_of(
    gateway: Gateway, caller: Caller, request_id: str, body: dict[str, Any], meant: Meaning
) -> Asked:
    """Return the request in the form in which the conversation history takes it.

    Raises Forbidden when it needs storing and the key may not store.
    """
    conversation = schema.conversation_id(body)
    previous = body.get("previous_response_id") or ""
    if conversation or previous or body.get("background"):
        caller.require_storing()
    stored = body.get("store") is not False and caller.stores and caller.user_id is not None
    return Asked(
        request_id=request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        door=Door.RESPONSE,
        model=body["model"],
        entries=items.of_input(body.get("input") or []),
        conversation_id=conversation,
        previous_id=previous,
        stored=stored,
        background=bool(body.get("background")),
        idle_seconds=int(settings.RESPONSE_KEEP_SECONDS),
        metadata=body.get("metadata") or {},
        settings=repeated(body),
        budget=conversation_options.budget(gateway.catalogue.window(meant.public_id), body),
    )


async def recall(
    gateway: Gateway, asked: Asked, body: dict[str, Any]
) -> tuple[Recalled | None, list[dict[str, Any]]]:
    """Return the turn, if the request is to be remembered, and all messages for the upstream.

    Writes the turn when the response is stored or part of a conversation.
    """
    if asked.stored or asked.conversation_id:
        recalled = await gateway.history.recall(asked)
        return recalled, recalled.messages
    if asked.previous_id:
        return None, await in_time(await TURNS.start_for(asked.user_id, start_turn.look_up, asked))
    return None, to_chat.own_messages(body)


def own_items(caller: Caller, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return a user's own items by their ids; runs in a database thread."""
    mine = Conversation.objects.of(caller.user_id or 0)
    found = Item.objects.filter(public_id__in=ids, conversation__in=mine)
    return {item.public_id: dict(item.as_openai()) for item in found}


# --- in the background ----------------------------------------------------------------------------
def in_background(
    request: LeanRequest, feed: Feed, head: Head, began: float, *, streamed: bool
) -> HttpResponseBase:
    """Return the answer to a background request: its events, or its state "queued"."""
    if streamed:
        return StreamAnswer(
            batches_of(feed), Listening(), request.gateway.heartbeat, request.request_id
        )
    return JsonAnswer(
        orjson.dumps(response_object(head, Outcome(status="queued"))), request.request_id, began
    )


async def batches_of(feed: Feed) -> Batches:
    async with aclosing(feed.since()) as events:
        async for some in events:
            yield some


class Listening:
    """A renderer of events that the background task has made."""

    @staticmethod
    def events(batch: list[Event]) -> bytes:
        return lines(batch)

    @staticmethod
    def end() -> bytes:
        return b""

    @staticmethod
    def failed(error: GatewayError) -> bytes:
        return lines(failure(error))


def failure(error: GatewayError) -> Iterator[Event]:
    """Yield the error event of a request that has no response object."""
    said = {"code": error.shown_code, "message": error.message, "param": error.param}
    yield {"type": "error", **said, "sequence_number": 0}
