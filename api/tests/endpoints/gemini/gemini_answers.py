"""Answers as Gemini gives them: events of a stream, and whole ones."""

from providers.protocol.json_types import JsonObject
from proxysite.testing.upstream import Script, send_reply, send_stream

USAGE = {"promptTokenCount": 12, "candidatesTokenCount": 5, "totalTokenCount": 17}
COUNTS = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
SIGNATURE = "EjQKMgEMOdbHr/sig+1=="


def make_event(
    *parts: JsonObject, finish: str | None = None, usage: JsonObject | None = None, **fields: object
) -> JsonObject:
    """Return one event of a stream, or a whole answer; `fields` are the candidate's."""
    candidate: JsonObject = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate | fields],
        "usageMetadata": usage or USAGE,
        "modelVersion": "gemini-3-flash",
        "responseId": "Il0taoSYJ5Cez7IP",
    }


def make_call(name: str, signature: str = "", call_id: str = "", **args: object) -> JsonObject:
    """Return the part of a function call."""
    call: JsonObject = {"name": name, "args": args}
    if call_id:
        call["id"] = call_id
    part: JsonObject = {"functionCall": call}
    if signature:
        part["thoughtSignature"] = signature
    return part


def text_part(text: str, **fields: object) -> JsonObject:
    return {"text": text, **fields}


def answer_with(*events: JsonObject, streams: bool) -> Script:
    """Return the script of an answer: its events streamed, or joined to one whole answer."""
    if streams:
        return send_stream(*events)
    parts = [
        part for event in events for part in event["candidates"][0].get("content", {})["parts"]
    ]
    whole = events[-1] | {"candidates": [events[-1]["candidates"][0]]}
    whole["candidates"][0] |= {"content": {"parts": parts, "role": "model"}}
    return send_reply(whole)


def refuse(status: int, name: str, message: str = "No.", *details: JsonObject) -> Script:
    """Return the script of an error in google.rpc's form."""
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return send_reply({"error": error}, status)


def make_detail(kind: str, **fields: object) -> JsonObject:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
