"""Find a request by any id that was made of its own.

`req_…`, `chatcmpl-…`, `cmpl-…`, `resp_…`, `msg_…` and ids of other items have the request's id in
them as 32 hex digits.
"""

import re
from uuid import UUID

from api.models import UsageRecord
from conversations.models import Conversation, Turn

HEX_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
HYPHENS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LONGEST_TERM = 200


def parse_request_id(term: str) -> UUID | None:
    """Return the id of a request within a text, or None."""
    text = term.strip().lower()[:LONGEST_TERM]
    if HYPHENS.fullmatch(text):
        return UUID(text)
    match = HEX_ID.search(text)
    return UUID(match[0]) if match else None


def has_record(request_id: UUID) -> bool:
    return UsageRecord.objects.filter(pk=request_id).exists()


def find_conversation(term: str) -> str | None:
    """Return the id of the conversation that an id leads to: its own, or that of a turn."""
    request_id = parse_request_id(term)
    if request_id is not None:
        turns = Turn.objects.filter(pk=request_id)
        conversation_id = turns.values_list("conversation_id", flat=True).first()
        if conversation_id is not None:
            return str(conversation_id)
    own = Conversation.objects.filter(pk=term.strip()[:LONGEST_TERM])
    return own.values_list("pk", flat=True).first()
