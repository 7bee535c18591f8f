"""All endpoints by subject, in the order of the page."""

from api.openapi.endpoint import Subject
from api.openapi.subjects import (
    account,
    answers,
    batch_subject,
    conversation_endpoints,
    documents,
    message_endpoints,
    relayed_endpoints,
    staff,
)

SUBJECTS: tuple[Subject, ...] = (
    answers.CHAT,
    answers.RESPONSES,
    message_endpoints.MESSAGES,
    answers.OTHERS,
    relayed_endpoints.RELAYED,
    conversation_endpoints.CONVERSATIONS,
    conversation_endpoints.SESSIONS,
    documents.FILES,
    batch_subject.BATCHES,
    account.ACCOUNT,
    staff.STAFF,
    account.HEALTH,
)
