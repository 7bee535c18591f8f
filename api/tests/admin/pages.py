"""The addresses of the admin's pages, and helpers that open them."""

import re
from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from api.models import Status, UsageRecord

KEYS = "/admin/api/apikey/"
USAGE = "/admin/api/usagerecord/"


def page_of(row: Model, view: str = "change") -> str:
    return reverse(f"admin:api_{row._meta.model_name}_{view}", args=[row.pk])


def key_form(**values: Any) -> dict[str, Any]:
    return {"name": "", "expires_at_0": "", "expires_at_1": ""} | values


def create_record(**fields: Any) -> UsageRecord:
    defaults = {
        "started_at": timezone.now(),
        "endpoint": "chat/completions",
        "model": "echo",
        "stream": False,
        "status": Status.COMPLETE,
        "http_status": 200,
    }
    return UsageRecord.objects.create(**defaults | fields)


def list_rows(client: Client, address: str, **query: Any) -> list[Any]:
    return list(client.get(address, query).context["cl"].result_list)


def read_form_number(client: Client) -> str:
    html = client.get(f"{KEYS}add/").content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    return str(number)
