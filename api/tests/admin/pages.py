"""The addresses of the admin's pages, and helpers that open them."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from api.models import Status, UsageRecord
from api.relay.lean_request import new_request_id
from api.request_ids import first_id_at

KEYS = "/admin/api/apikey/"
USAGE = "/admin/api/usagerecord/"


def page_of(row: Model, view: str = "change") -> str:
    return reverse(f"admin:api_{row._meta.model_name}_{view}", args=[row.pk])


def inline_form(prefix: str, total: int = 0, initial: int = 0, **values: Any) -> dict[str, Any]:
    """Return the fields of an inline; `values` are those of its first row."""
    counts = {f"{prefix}-TOTAL_FORMS": total, f"{prefix}-INITIAL_FORMS": initial}
    return counts | {f"{prefix}-0-{name}": value for name, value in values.items()}


def key_form(**values: Any) -> dict[str, Any]:
    fields = {"name": "", "expires_at": ""}
    return fields | inline_form("limit_sets") | values


def make_id_at(moment: datetime) -> UUID:
    """Return a new id of a request that arrived at that time."""
    noise = int(new_request_id().removeprefix("req_"), 16) % 2**80
    return UUID(int=first_id_at(moment).int + noise)


def create_record(**fields: Any) -> UsageRecord:
    started_at = fields.get("started_at", timezone.now())
    defaults = {
        "id": make_id_at(started_at),
        "started_at": started_at,
        "endpoint": "chat/completions",
        "model": "echo",
        "stream": False,
        "status": Status.COMPLETE,
        "http_status": 200,
    }
    return UsageRecord.objects.create(**defaults | fields)


def list_requests(client: Client, /, **query: Any) -> list[UsageRecord]:
    """Return the records that the list of requests shows for these filters."""
    return [row.record for row in client.get(USAGE, query).context["rows"]]


def list_rows(client: Client, address: str, **query: Any) -> list[Any]:
    return list(client.get(address, query).context["cl"].result_list)


def read_form_number(client: Client) -> str:
    html = client.get(f"{KEYS}add/").content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    return str(number)
