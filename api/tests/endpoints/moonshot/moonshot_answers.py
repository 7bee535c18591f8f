"""Answers as Moonshot gives them, and what a caller gets of them."""

from proxysite.testing import speech

COUNTS = speech.token_usage(10, 5)


def last_chunk(reason="stop", counts=COUNTS):
    """Return Moonshot's last chunk: the counts are in the choice."""
    last = speech.chat_chunk(finish=reason)
    last["choices"][0]["usage"] = counts
    return last


def read_answer(answer):
    """Return what a caller got, however it came: text, calls, finish reason, usage."""
    if answer.headers["content-type"].startswith("application/json"):
        choice = answer.json["choices"][0]
        calls = [
            (c["function"]["name"], c["function"]["arguments"])
            for c in choice["message"].get("tool_calls", ())
        ]
        return answer.text, calls, choice["finish_reason"], answer.json["usage"]["total_tokens"]
    assert answer.is_complete
    roles = [
        event["choices"][0]["delta"].get("role") for event in answer.events if event["choices"]
    ]
    assert roles[0] == "assistant"
    assert not any(roles[1:])
    parts = [
        p for e in answer.events for c in e["choices"] for p in c["delta"].get("tool_calls", ())
    ]
    assert [p["index"] for p in parts] == list(range(len(parts)))
    calls = [(p["function"]["name"], p["function"]["arguments"]) for p in parts]
    (finish,) = answer.finish_reasons
    return answer.text, calls, finish, answer.events[-1]["usage"]["total_tokens"]


def request_chat(gateway, key, streams, **body):
    """Ask for a chat completion, whole or streamed with its usage."""
    options = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    return gateway.request_chat(key, **body, **options)
