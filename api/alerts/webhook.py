"""Send one alert to the webhook, signed as the Standard Webhooks specification 1.0.0 says.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. The headers are
`webhook-id` (the same in each attempt, so that a receiver can drop duplicates), `webhook-timestamp`
(UNIX time of the attempt) and `webhook-signature` (`v1,` and the base64 of HMAC-SHA256 over
`id.timestamp.body`). A status from 200 to 299 is a success; redirects are not followed.
"""

import base64
import hashlib
import hmac
import math
from dataclasses import dataclass

import httpx
import orjson
from django.conf import settings

from api.alerts.alert_texts import describe_alert, describe_subject
from api.models import AlertEvent
from providers.exceptions import (
    BadTls,
    Disconnected,
    ProviderError,
    Unreachable,
    UpstreamTimeout,
)
from providers.network.address_guard import PRIVATE_TEXT, find_base_url_problem
from providers.network.api_client import ApiCall
from providers.network.clients import Clients
from providers.network.proxies.outbound_proxy import find_default_proxy
from providers.network.response import OpenAnswer
from providers.network.target import Timeouts
from providers.upstream.rate_limits import parse_reset
from providers.upstream.upstream_client import USER_AGENT

SECRET_PREFIX = "whsec_"  # noqa: S105 - the specification's mark of a secret, not a secret
SHORTEST_SECRET_BYTES = 32
GONE_STATUS = 410
SETTINGS_TEXT = "The settings of the webhook cannot be used."
FAILURE_TEXTS: dict[type[ProviderError], str] = {
    UpstreamTimeout: "The receiver did not answer in time.",
    BadTls: "The receiver's certificate cannot be trusted.",
    Unreachable: "The receiver cannot be reached.",
    Disconnected: "The receiver closed the connection before its answer was complete.",
}


@dataclass(frozen=True, slots=True)
class SendResult:
    """The end of one attempt; `problem` is empty when the alert was taken.

    `is_final`: no further attempt can help. `pause_seconds` is the pause that the receiver wants.
    """

    problem: str = ""
    is_final: bool = False
    pause_seconds: float = 0.0


# --- settings -------------------------------------------------------------------------------------
def read_secret_bytes(text: str) -> bytes:
    """Return the key of a secret: `whsec_` and base64, or any other text as it is.

    Raises ValueError when the base64 is not valid.
    """
    if text.startswith(SECRET_PREFIX):
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    return text.encode()


def find_settings_problem() -> str:
    """Return the fault in ALERT_WEBHOOK_URL and its secret, without their values, or ""."""
    if not settings.ALERT_WEBHOOK_URL:
        return ""
    if problem := find_url_problem(settings.ALERT_WEBHOOK_URL):
        return problem
    try:
        key = read_secret_bytes(settings.ALERT_WEBHOOK_SECRET)
    except ValueError:
        return "ALERT_WEBHOOK_SECRET: after whsec_ comes base64."
    if len(key) < SHORTEST_SECRET_BYTES:
        return (
            f"ALERT_WEBHOOK_SECRET must be random and have {SHORTEST_SECRET_BYTES} bytes or more: "
            'with a short one anybody could forge alerts. Make one: echo "whsec_$(openssl rand '
            '-base64 32)"'
        )
    return ""


def find_url_problem(text: str) -> str:
    """Return the fault in the webhook's address, as a sentence for the operator, or ""."""
    try:
        url = httpx.URL(text)
        base_url = str(url.copy_with(query=None))
    except (httpx.InvalidURL, ValueError, TypeError):
        return "ALERT_WEBHOOK_URL is not a URL."
    problem = find_base_url_problem(base_url, settings.ALERT_ALLOW_PRIVATE)
    if problem is None:
        return ""
    return f"ALERT_WEBHOOK_URL: {problem} (“allow private” is ALERT_ALLOW_PRIVATE=true)"


# --- one attempt ----------------------------------------------------------------------------------
def build_body(event: AlertEvent) -> bytes:
    """Return the JSON body of an alert; it queries the names of the rows that it names."""
    subject = {
        "kind": event.subject_kind,
        "id": event.subject_id,
        "name": describe_subject(event),
    }
    data = {
        "id": str(event),
        "text": describe_alert(event),
        "subject": subject,
        "limit_name": event.limit_name,
        "period": event.period,
        **event.facts,
    }
    body = {
        "type": f"alert.{event.kind}",
        "timestamp": event.created_at.isoformat(),
        "data": data,
    }
    return orjson.dumps(body)


def sign_body(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def build_webhook_call(message_id: str, timestamp: int, body: bytes) -> ApiCall:
    """Build the call of one attempt; the settings have been checked."""
    secret = read_secret_bytes(settings.ALERT_WEBHOOK_SECRET)
    signature = sign_body(secret, message_id, timestamp, body)
    seconds = settings.ALERT_WEBHOOK_SECONDS
    headers = (
        f"User-Agent: {USER_AGENT}\r\nwebhook-id: {message_id}\r\n"
        f"webhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n"
    )
    return ApiCall(
        "POST",
        httpx.URL(settings.ALERT_WEBHOOK_URL),
        allow_private=settings.ALERT_ALLOW_PRIVATE,
        proxy=find_default_proxy(settings.ALERT_ALLOW_PRIVATE),
        timeouts=Timeouts(settings.CONNECT_SECONDS, seconds, seconds, seconds, seconds),
        total_seconds=seconds,
        answer_bytes=0,
        headers=headers.encode("ascii"),
        body=body,
    )


async def send_message(
    clients: Clients, message_id: str, timestamp: int, body: bytes
) -> SendResult:
    """Send one attempt and return how it ended; nothing of the receiver's text is kept."""
    if find_settings_problem():
        return SendResult(SETTINGS_TEXT)
    try:
        async with clients.api.open_call(build_webhook_call(message_id, timestamp, body)) as answer:
            # the head decides: a body that is long or slow must not make a success a failure
            return read_result(answer)
    except ProviderError as error:
        return SendResult(describe_failure(error))


def describe_failure(error: ProviderError) -> str:
    """Return why no answer came, in a sentence for the operator."""
    if str(error) == PRIVATE_TEXT:
        return "The receiver's address is private: ALERT_ALLOW_PRIVATE=true allows that."
    for kind, text in FAILURE_TEXTS.items():
        if isinstance(error, kind):
            return text
    return "The receiver's answer is not valid HTTP."


def read_result(answer: OpenAnswer) -> SendResult:
    """Return how an attempt ended by the receiver's answer."""
    if 200 <= answer.status < 300:
        return SendResult()
    pause_seconds = parse_reset(answer.get_header(b"retry-after")) or 0.0
    if not math.isfinite(pause_seconds):
        pause_seconds = 0.0
    return SendResult(
        f"The receiver answered with the status {answer.status}.",
        is_final=answer.status == GONE_STATUS,
        pause_seconds=pause_seconds,
    )
