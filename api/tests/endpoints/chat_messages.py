"""Messages of chats: those that callers send, and those that the upstream was asked with."""

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply


def user_message(text):
    """Return a message of the user."""
    return {"role": "user", "content": text}


def assistant_message(text, **fields):
    """Return a message of the model."""
    return {"role": "assistant", "content": text, **fields}


def answer_texts(*texts):
    """Return upstream scripts that answer with these texts, one for each request."""
    return [send_reply(speech.chat_completion(text)) for text in texts]


def get_sent_messages(upstream, at=-1):
    """Return the messages of one request to the upstream, the last one unless `at` is given."""
    return upstream.requests[at].json["messages"]


def list_prompts(upstream):
    """Return the messages of each request to the upstream."""
    return [request.json["messages"] for request in upstream.requests]


def list_bearer_tokens(upstream):
    """Return the token of each request to the upstream."""
    return [request.bearer_token for request in upstream.requests]
