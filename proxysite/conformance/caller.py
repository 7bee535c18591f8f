"""One chat completion asked of a gateway, read as a careful client reads it."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field

import httpx

from providers.protocol.json_types import JsonObject
from proxysite.conformance.dialogue import PROMPT, is_whole_text

ANSWERED = "answered"
ERROR = "error"
HANG = "hang"
MESSAGE_CHARS = 200


@dataclass(slots=True)
class Answer:
    """The answer that a caller got.

    `outcome` is ANSWERED when nothing told the caller that the answer failed. `begun_at` is the
    time of the request, in seconds after the scenario's start. `named` has the values of the
    answer's headers, for a gateway that says in them which model answered.
    """

    outcome: str = ERROR
    text: str = ""
    error: str = ""
    code: str = ""
    status: int | None = None
    seconds: float = 0.0
    begun_at: float = 0.0
    model: str = ""
    usage: JsonObject | None = None
    retry_after_seconds: float = 0.0
    named: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return self.outcome == ANSWERED and is_whole_text(self.text)


async def ask_gateway(
    client: httpx.AsyncClient, model: str, *, stream: bool, seconds: float
) -> Answer:
    """Ask the gateway; an answer that has not ended after `seconds` is a hang."""
    answer = Answer()
    began = time.monotonic()
    body: JsonObject = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        async with asyncio.timeout(seconds):
            await read_answer(client, body, answer)
    except TimeoutError:
        answer.outcome = HANG
        answer.error = f"no end within {seconds:g} s"
    except httpx.HTTPError as error:
        answer.outcome = ERROR
        answer.error = f"{type(error).__name__}: {error}"
    answer.seconds = round(time.monotonic() - began, 3)
    return answer


async def read_answer(client: httpx.AsyncClient, body: JsonObject, answer: Answer) -> None:
    """Send the request, and fill in `answer`. Raises httpx.HTTPError."""
    async with client.stream("POST", "chat/completions", json=body) as response:
        answer.status = response.status_code
        answer.named = [*response.headers.values()]
        answer.retry_after_seconds = read_retry_seconds(response.headers.get("retry-after", ""))
        if response.status_code != 200:
            fill_in_error(answer, parse_json_object(await response.aread()))
        elif not body.get("stream"):
            read_whole_answer(parse_json_object(await response.aread()), answer)
        else:
            await read_stream(response, answer)


def read_whole_answer(body: JsonObject, answer: Answer) -> None:
    message = (read_choices(body) or [{}])[0].get("message")
    if body.get("error") or not isinstance(message, dict):
        fill_in_error(answer, body)
        return
    answer.outcome = ANSWERED
    answer.text = message.get("content") or ""
    fill_in_facts(answer, body)


async def read_stream(response: httpx.Response, answer: Answer) -> None:
    """Read events up to [DONE], an error or the end of the body. Raises httpx.HTTPError.

    Events that are not JSON are skipped.
    """
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            break
        event = parse_json_object(data.encode())
        if event.get("error"):
            fill_in_error(answer, event)
            return
        fill_in_facts(answer, event)
        answer.text += "".join(map(read_delta_text, read_choices(event)))
    answer.outcome = ANSWERED


def read_delta_text(choice: JsonObject) -> str:
    """Return the text that a choice of a stream's event adds."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return ""
    return delta.get("content") or ""


def read_choices(body: JsonObject) -> list[JsonObject]:
    choices = body.get("choices")
    if not isinstance(choices, list):
        return []
    return [choice for choice in choices if isinstance(choice, dict)]


def fill_in_facts(answer: Answer, body: JsonObject) -> None:
    answer.model = str(body.get("model") or answer.model)
    if isinstance(body.get("usage"), dict):
        answer.usage = body["usage"]


def fill_in_error(answer: Answer, body: JsonObject) -> None:
    error = body.get("error")
    if not isinstance(error, dict):
        error = {"message": error}
    message = str(error.get("message") or "no message")[:MESSAGE_CHARS]
    where = "an error event" if answer.status == 200 else f"HTTP {answer.status}"
    answer.outcome = ERROR
    answer.code = str(error.get("code") or "")
    answer.error = f"{where}: {message}"


def read_retry_seconds(text: str) -> float:
    """Return the seconds of a Retry-After header; 0 when it names none."""
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else 0.0


def parse_json_object(data: bytes) -> JsonObject:
    """Return the JSON object; an empty one when the data is not a JSON object."""
    try:
        parsed = json.loads(data)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
