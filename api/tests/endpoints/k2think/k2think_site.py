"""What K2-Think's web site says, and how callers ask for its model."""

from typing import Any

from proxysite.testing.upstream import Script, send_stream

MODEL = "MBZUAI-IFM/K2-Think-v2"
CAPTCHA = b"<!DOCTYPE html><title>Just a moment...</title>"


def site_api(upstream: Any) -> str:
    """Return the base address of the site that the upstream plays."""
    return upstream.url.replace("/v1", "/api")


def send_snapshots(*snapshots: str, end: Any = "[DONE]") -> Script:
    """Return a script: each event has the whole answer so far."""
    return send_stream(*({"content": text} for text in snapshots), end)


async def request_k2think(gateway, alice, **body):
    """Ask the site's model."""
    return await gateway.request_chat(alice.key, **({"model": MODEL} | body))


def read_message(answer) -> Any:
    """Return the message of a whole answer."""
    assert answer.status == 200, answer
    return answer.json["choices"][0]["message"]


def join_reasoning(answer) -> str:
    """Return all reasoning of a stream."""
    deltas = [choice["delta"] for event in answer.events for choice in event["choices"]]
    return "".join(delta.get("reasoning_content") or "" for delta in deltas)
