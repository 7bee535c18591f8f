"""All endpoints by subject, in the order of the page."""

from api.openapi.endpoint import Subject
from api.openapi.subjects import account, answers, conversations, documents, staff

SUBJECTS: tuple[Subject, ...] = (
    answers.CHAT,
    answers.RESPONSES,
    answers.OTHERS,
    conversations.CONVERSATIONS,
    conversations.SESSIONS,
    documents.FILES,
    account.ACCOUNT,
    staff.STAFF,
    account.HEALTH,
)
