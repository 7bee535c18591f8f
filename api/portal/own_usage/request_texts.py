"""Say in words why a request failed, for its owner."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from api.models import Status, UsageRecord

# error codes of answers (docs/errors.md), and what the owner can do
ADVICE: dict[str, Any] = {
    "model_not_found": _("There is no such model, or you may not use it. See the page Models."),
    "rate_limit_exceeded": _("Too many requests or tokens in a minute. Send fewer, or wait."),
    "insufficient_quota": _("A budget is spent. It is renewed at its time, or ask the operator."),
    "context_length_exceeded": _("The conversation is too long for the model. Shorten it."),
    "access_expired": _("The access of the key, its user or the team has ended."),
    "endpoint_not_allowed": _("The key may not use this endpoint."),
    "address_not_allowed": _("The key may not be used from that address."),
    "no_upstream_token": _("No account at the provider could be used. Tell the operator."),
    "no_available_token": _("All accounts at the provider were in use. Try again in a moment."),
    "upstream_timeout": _("The provider took too long. Try again."),
    "upstream_unreachable": _("The provider could not be reached. Try again in a moment."),
    "storage_limit_exceeded": _("Your storage is full. Delete conversations or files."),
    "content_filter": _("The provider's filter refused the content."),
}
STATUS_TEXTS: dict[str, Any] = {
    Status.COMPLETE: _("complete"),
    Status.ERROR: _("failed"),
    Status.TRUNCATED: _("cut off by the provider"),
    Status.ABANDONED: _("you left before the end"),
    Status.INTERRUPTED: _("the gateway was restarted"),
    Status.REFUSED: _("refused by a limit"),
}
COLOURS = {Status.COMPLETE: "good", Status.ABANDONED: "off", Status.REFUSED: "wait"}


def describe_status(record: UsageRecord) -> tuple[str, Any]:
    """Return the colour of the badge and its text."""
    status = Status(record.status)
    return COLOURS.get(status, "bad"), STATUS_TEXTS[status]


def explain_failure(record: UsageRecord) -> Any:
    """Return a sentence about a failed request, or an empty text."""
    if record.status in (Status.COMPLETE, Status.ABANDONED):
        return ""
    if record.error_code in ADVICE:
        return ADVICE[record.error_code]
    if record.status == Status.REFUSED:
        return _("A limit refused it. See the limits on the page Usage.")
    code = record.http_status or 0
    if code == 429:
        return ADVICE["rate_limit_exceeded"]
    if code >= 500:
        return _("The provider or the gateway failed. Try again; if it stays, tell the operator.")
    if code >= 400:
        return _("The request was not accepted: its error says which field is wrong.")
    return STATUS_TEXTS[Status(record.status)]


def describe_record(record: UsageRecord) -> dict[str, Any]:
    colour, text = describe_status(record)
    return {
        "record": record,
        "colour": colour,
        "state": text,
        "advice": explain_failure(record),
    }
