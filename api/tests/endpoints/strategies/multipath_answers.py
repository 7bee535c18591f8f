"""A question to a model of several paths, and what the upstream answers."""

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply

QUESTION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why is the sky blue?"},
]


def send_answer(text, prompt=10, completion=5):
    """Return a script that answers with a text and its usage."""
    return send_reply(speech.chat_completion(text, usage=speech.token_usage(prompt, completion)))
