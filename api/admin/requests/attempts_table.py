"""The table of a usage record's attempts: each upstream call of one request, in order."""

from collections.abc import Iterable

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.admin.big_tables import NO_VALUE, render_badge
from providers.protocol.attempt import SKIPPED
from providers.protocol.json_types import JsonObject
from tokens.models import UpstreamToken

ATTEMPT_COLUMNS = (
    "",
    gettext_lazy("Provider"),
    gettext_lazy("Model"),
    gettext_lazy("Token"),
    "HTTP",
    gettext_lazy("Connect ms"),
    gettext_lazy("First byte ms"),
    gettext_lazy("Total ms"),
    gettext_lazy("Outcome"),
)
OUTCOME_COLOURS = {"answered": "good", SKIPPED: "off", "abandoned": "off"}


def render_attempts_table(attempts: list[JsonObject]) -> SafeString | str:
    """Return a table of every upstream call of the request, in order."""
    if not attempts:
        return _("There was no upstream call.")
    masks = load_token_masks(attempts)
    header = render_table_row("th", ATTEMPT_COLUMNS)
    rows = [
        render_table_row("td", (number, *build_attempt_cells(attempt, masks)))
        for number, attempt in enumerate(attempts, 1)
    ]
    body = format_html_join("", "{}", ((row,) for row in rows))
    return format_html('<table class="table attempts">{}{}</table>', header, body)


def render_table_row(tag: str, cells: Iterable[object]) -> SafeString:
    """Return one line of a table; `tag` is th or td."""
    return format_html(
        "<tr>{}</tr>", format_html_join("", "<{0}>{1}</{0}>", ((tag, cell) for cell in cells))
    )


def load_token_masks(attempts: list[JsonObject]) -> dict[str, str]:
    """Return the masked form of each token that the attempts name and that still exists, by id."""
    ids = {attempt["token"] for attempt in attempts if attempt.get("token")}
    return {
        str(pk): masked
        for pk, masked in UpstreamToken.objects.filter(pk__in=ids).values_list("pk", "masked")
    }


def build_attempt_cells(attempt: JsonObject, masks: dict[str, str]) -> list[object]:
    """Return one attempt of the ledger (`Attempt.as_dict`) as table cells.

    The cells are in the order of ATTEMPT_COLUMNS, without the attempt's number.
    """
    token: object = attempt.get("token") or ""
    if token in masks:
        token = render_token_link(token, masks[str(token)])
    outcome = str(attempt.get("outcome"))
    return [
        attempt.get("provider") or "",
        attempt.get("model") or "",
        token,
        attempt.get("status") or "",
        format_milliseconds(attempt.get("connect_ms")),
        format_milliseconds(attempt.get("first_byte_ms")),
        format_milliseconds(attempt.get("total_ms")),
        format_html(
            "{} {}",
            render_badge(OUTCOME_COLOURS.get(outcome, "bad"), outcome),
            describe_reason(attempt),
        ),
    ]


def describe_reason(attempt: JsonObject) -> str:
    """Return why a call failed or was skipped, and the fields that the upstream did not get."""
    texts = [str(attempt["reason"])] if attempt.get("reason") else []
    if attempt.get("omitted"):
        fields = ", ".join(map(str, attempt["omitted"]))
        texts.append(_("Not sent: %(fields)s.") % {"fields": fields})
    return " ".join(texts)


def render_token_link(token_id: object, text: object) -> SafeString:
    """Return a link to a token's page in the admin."""
    address = reverse("admin:tokens_upstreamtoken_change", args=[token_id])
    return format_html('<a href="{}">{}</a>', address, text)


def format_milliseconds(duration_ms: float | None) -> str:
    if duration_ms is None:
        return NO_VALUE
    return f"{duration_ms:,.1f}"
