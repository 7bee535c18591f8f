"""Answers of the upstream in plain words, what it was asked, and the events that came back."""

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply


def list_upstream_messages(upstream):
    """What the upstream was told last, as pairs of role and content."""
    return [
        (message["role"], message.get("content"))
        for message in upstream.last_exchange.request.json["messages"]
    ]


def make_replies(*texts):
    return [send_reply(speech.chat_completion(text)) for text in texts]


async def collect_events(events):
    return [event async for event in events]
