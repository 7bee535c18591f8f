"""The user's own requests: the list, one of them, and all as CSV."""

import re
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from api.models import ApiKey, Status, UsageRecord
from api.portal.own_usage.request_csv import stream_csv
from api.portal.own_usage.request_texts import describe_record
from api.portal.portal_access import get_user, own_page, render_page
from api.usage import request_report
from providers.integers import parse_integer

REQUESTS_SHOWN = 50
LAST_ID = 2**63 - 1
FAILED = "failed"
KEYS_OFFERED = 200  # in the filter
ANSWER_ID = re.compile(r"(?:req_|resp_|chatcmpl-|cmpl-)?([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which of the user's requests are listed."""

    key_id: int | None
    only_failed: bool

    def filter_records(self, user_id: int) -> "QuerySet[UsageRecord]":
        records = UsageRecord.objects.filter(user_id=user_id).order_by("-id")
        if self.key_id is not None:
            records = records.filter(key_id=self.key_id)
        if self.only_failed:
            records = records.exclude(status=Status.COMPLETE)
        return records


def read_filter(request: HttpRequest) -> RequestFilter:
    key_id = parse_integer(request.GET.get("key", ""), 1, LAST_ID)
    return RequestFilter(key_id, request.GET.get("status") == FAILED)


@own_page("GET")
def list_requests(request: HttpRequest) -> HttpResponseBase:
    """Show the latest requests, or those before one of them, or lead to the one that is named."""
    user = get_user(request)
    wanted = request.GET.get("id", "").strip()
    if record := find_by_answer_id(wanted, user.pk):
        return HttpResponseRedirect(reverse("portal-request", args=[record]))
    chosen = read_filter(request)
    records = chosen.filter_records(user.pk)
    before = parse_request_id(request.GET.get("before", ""))
    if before is not None:
        records = records.filter(pk__lt=before)
    rows = list(records.select_related("key")[: REQUESTS_SHOWN + 1])
    return render_page(
        request,
        "requests",
        lines=[describe_record(row) for row in rows[:REQUESTS_SHOWN]],
        next_before=str(rows[REQUESTS_SHOWN - 1]) if len(rows) > REQUESTS_SHOWN else "",
        chosen=chosen,
        keys=list(ApiKey.objects.filter(user=user)[:KEYS_OFFERED]),
        query=request.GET.copy(),
        is_later_page=before is not None,
        wanted=wanted,
    )


def find_by_answer_id(text: str, user_id: int) -> UsageRecord | None:
    """Return the user's request that has this id, or whose answer has it."""
    match = ANSWER_ID.fullmatch(text)
    return request_report.find_record(match[1], user_id) if match else None


def parse_request_id(text: str) -> UUID | None:
    match = request_report.REQUEST_ID.fullmatch(text)
    return UUID(match[1]) if match else None


@own_page("GET")
def show_request(request: HttpRequest, request_id: str) -> HttpResponseBase:
    """Show one request: its counts, times, cost and upstream calls."""
    record = request_report.find_record(request_id, get_user(request).pk)
    if record is None:
        raise Http404
    return render_page(
        request,
        "request",
        **describe_record(record),
        attempts=request_report.build_attempts(record, for_staff=False),
        key=ApiKey.objects.filter(pk=record.key_id or 0, user=get_user(request)).first(),
        section="portal-requests",
    )


@own_page("GET")
def export_requests(request: HttpRequest) -> HttpResponseBase:
    """Send the requests of the filter as CSV, the latest first, in pieces."""
    records = read_filter(request).filter_records(get_user(request).pk)
    headers = {"content-disposition": 'attachment; filename="requests.csv"'}
    return StreamingHttpResponse(
        stream_csv(records), content_type="text/csv; charset=utf-8", headers=headers
    )
