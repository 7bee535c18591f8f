"""/v1/usage and /v1/requests/{id}: what was used and what it cost.

Callers see their own; staff may see that of all. Neither endpoint is OpenAI's. Sums come from the
roll-ups (`api/usage/`).
"""

from datetime import UTC, datetime
from typing import cast

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.authentication import Caller
from api.usage import request_report, usage_parameters, usage_report
from api.usage.usage_parameters import ParameterError
from api.usage.usage_query import UsageQuery, read_usage
from api.views.base import ApiView, SingleFormatNegotiation, owner_id
from api.views.staff.staff_access import can_view_models
from conversations.stored import unknown_ids
from providers.exceptions import Forbidden, InvalidRequest

SCOPES = ("key", "user", "all")
FORMATS = ("json", "csv")
CSV_TYPE = "text/csv"
DEFAULT_GROUPS = 1_000
STAFF_GROUPS = frozenset(("provider", "token"))
USAGE_MODEL = "api.usagerecord"


class Usage(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request) -> HttpResponseBase:
        answer_format = read_format(request)
        try:
            query = read_query(request)
        except ParameterError as error:
            raise InvalidRequest(str(error), param=error.name) from None
        report = usage_report.build_report(query, read_usage(query))
        if answer_format == "json":
            return Response(report)
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        return HttpResponse(
            usage_report.render_csv(report),
            content_type=f"{CSV_TYPE}; charset=utf-8",
            headers=headers,
        )


class OneRequest(ApiView):
    def get(self, request: Request, request_id: str) -> Response:
        for_staff = is_usage_staff(request)
        record = request_report.find_record(request_id, None if for_staff else owner_id(request))
        if record is None:
            raise unknown_ids.make_unknown_error(
                "request", request_id, param="id", code="request_not_found"
            )
        return Response(request_report.build_record_report(record, for_staff=for_staff))


def is_usage_staff(request: Request) -> bool:
    """Return whether the caller may see the usage of all: staff with a key for every model."""
    has_whole_key = not cast(Caller, request.auth).allowed_models
    return has_whole_key and can_view_models(request.user, USAGE_MODEL)


def read_query(request: Request) -> UsageQuery:
    """Return the query that an address asks for.

    Raises ParameterError, InvalidRequest, Forbidden.
    """
    parameters = request.query_params
    scope = parameters.get("scope", "key")
    if scope not in SCOPES:
        raise InvalidRequest(f"scope is one of: {', '.join(SCOPES)}.", param="scope")
    group_by = usage_parameters.parse_group_by(parameters.get("group_by", "day"))
    begin, end = usage_parameters.parse_span(
        parameters.get("from", ""), parameters.get("to", ""), datetime.now(UTC)
    )
    most_groups = settings.USAGE_GROUPS
    limit = pagination.read_integer(
        parameters.get("limit", min(DEFAULT_GROUPS, most_groups)), "limit", 1, most_groups
    )
    require_staff_for(request, scope, group_by)
    key_id = cast(Caller, request.auth).key_id if scope == "key" else None
    user_id = owner_id(request) if scope == "user" else None
    return UsageQuery(group_by, begin, end, limit, key_id=key_id, user_id=user_id)


def require_staff_for(request: Request, scope: str, group_by: tuple[str, ...]) -> None:
    """Raise Forbidden when the query is for staff only and the caller is none."""
    staff_groups = sorted(STAFF_GROUPS.intersection(group_by))
    if (scope != "all" and not staff_groups) or is_usage_staff(request):
        return
    name, value = ("scope", "all") if scope == "all" else ("group_by", staff_groups[0])
    raise Forbidden(
        f"{name}={value} needs the API key of a member of staff, for every model.",
        param=name,
        code="permission_denied",
    )


def read_format(request: Request) -> str:
    """Return json or csv, as the address says or else the Accept header. Raises InvalidRequest."""
    default = "csv" if request.headers.get("accept", "").startswith(CSV_TYPE) else "json"
    answer_format = request.query_params.get("format", default)
    if answer_format not in FORMATS:
        raise InvalidRequest(f"format is one of: {', '.join(FORMATS)}.", param="format")
    return answer_format
