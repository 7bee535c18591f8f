"""/v1/sessions in OpenKimi's form: a session is a conversation with a name that its client chose.

A session begins here, or with the first request that names it. Without a turn it is deleted after
SESSION_IDLE_SECONDS. Answers are {"session_id", "created_at", "last_accessed", "expires_at"}, with
times in ISO 8601.
"""

import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from django.conf import settings
from msgspec import UNSET, Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.relay.conversation_options import LONGEST_NAME, OPENAI_ID_FIELDS
from api.schemas import item_inputs
from api.schemas.json_body import Maybe
from api.views.base import ApiView, owner_id, require_storing
from conversations import retention
from conversations.models import Conversation
from conversations.stored import stored_sessions
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

UNREACHABLE_SEGMENTS = {"", ".", ".."}  # path segments that clients and proxies remove


class NewSession(Struct):
    session_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)] | Maybe = UNSET


class Sessions(ApiView):
    def post(self, request: Request) -> Response:
        require_storing(request)
        name = item_inputs.read_drf_body(request, NewSession).get("session_id") or str(uuid.uuid4())
        if not name.isprintable() or name.startswith(tuple(OPENAI_ID_FIELDS)):
            raise InvalidRequest(
                f"A session_id is printable and does not begin with {', '.join(OPENAI_ID_FIELDS)}.",
                param="session_id",
            )
        if UNREACHABLE_SEGMENTS.intersection(name.split("/")):
            raise InvalidRequest(
                "No part of a session_id between slashes is empty, . or ..", param="session_id"
            )
        idle_seconds = settings.SESSION_IDLE_SECONDS
        session = stored_sessions.find_or_create_session(owner_id(request), name, idle_seconds)
        return Response(render_session(session))

    def get(self, request: Request) -> Response:
        page_query = pagination.parse_page_query(request.query_params)
        own = stored_sessions.sessions_of(owner_id(request))
        rows = pagination.find_page_rows(
            own,
            page_query,
            partial(stored_sessions.find_session, owner_id(request)),
            "used_at",
            "id",
        )
        objects = [render_session(row) for row in rows]
        return Response(pagination.render_page(objects, page_query, "session_id"))


class Session(ApiView):
    def get(self, request: Request, session_id: str) -> Response:
        session = stored_sessions.find_session(owner_id(request), session_id)
        return Response(render_session(session))

    def delete(self, request: Request, session_id: str) -> Response:
        session = stored_sessions.find_session(owner_id(request), session_id)
        retention.delete_conversations(Conversation.objects.filter(pk=session.pk))
        return Response({"session_id": session_id, "deleted": True})


def render_session(session: Conversation) -> JsonObject:
    return {
        "session_id": session.name,
        "created_at": format_utc_time(session.created_at),
        "last_accessed": format_utc_time(session.used_at),
        "expires_at": format_utc_time(session.expires_at) if session.expires_at else None,
    }


def format_utc_time(time: datetime) -> str:
    """Return the time in UTC, such as 2026-01-31T12:00:00.123456Z."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
