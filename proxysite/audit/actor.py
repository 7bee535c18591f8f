"""The actor of the present moment: the person of a request, or the command that runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from providers.network.client_address import find_caller_address
from proxysite.audit.field_values import Values

COMMAND_LINE = "command line"


@dataclass
class UnfinishedEntry:
    """An entry that was written before its deed: its row, and the row's values before."""

    entry_id: int
    row: models.Model
    before: Values


@dataclass
class Actor:
    """A person or a command, with the entries that it has made so far."""

    request: HttpRequest | None = None
    command: str = ""
    unfinished: list[UnfinishedEntry] = field(default_factory=list)
    deleted: set[tuple[str, str]] = field(default_factory=set)  # (model, id) in the log already

    @property
    def user(self) -> Any:
        """Return the user who is logged in or has shown an API key; None for nobody."""
        user = getattr(self.request, "user", None)
        return user if user is not None and user.is_authenticated else None

    @property
    def is_known(self) -> bool:
        return bool(self.command) or self.user is not None

    @property
    def name(self) -> str:
        return COMMAND_LINE if self.command else str(self.user.get_username())

    @property
    def address(self) -> str:
        address = None if self.request is None else find_caller_address(self.request)
        return "" if address is None else str(address)


current_actor: ContextVar[Actor | None] = ContextVar("current_actor", default=None)


def find_actor() -> Actor | None:
    """Return the present actor; None for strangers and for the gateway's own work."""
    actor = current_actor.get()
    return actor if actor is not None and actor.is_known else None


@contextmanager
def act_as_command(name: str) -> Iterator[Actor]:
    """Make the command of this name the actor, within the block."""
    actor = Actor(command=name)
    token = current_actor.set(actor)
    try:
        yield actor
    finally:
        current_actor.reset(token)


class ActorMiddleware:
    """The middleware that says who acts, and completes the entries of deeds when they are done.

    It costs a request that changes nothing no query and no thread.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer_async(request)
        actor = Actor(request)
        token = current_actor.set(actor)
        try:
            response = self.get_response(request)
        finally:
            current_actor.reset(token)
        self.complete_entries(actor)
        return response

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        actor = Actor(request)
        token = current_actor.set(actor)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            current_actor.reset(token)
        if actor.unfinished:
            await sync_to_async(self.complete_entries)(actor)
        return response

    @staticmethod
    def complete_entries(actor: Actor) -> None:
        if actor.unfinished:
            from proxysite.audit.recording import complete_entries

            complete_entries(actor)
