"""The dashboard as tests read it, and rows that it shows."""

import re
from uuid import UUID

from django.utils import timezone

from api.models import Status, UsageRecord
from api.relay.lean_request import new_request_id
from api.request_ids import first_id_at

SECRET = "sk-a-secret-of-the-index-page-0123456789"
MARKUP = "<script>alert(1)</script>"


def read_page(client):
    """The page's HTML; it works under a policy that forbids inline scripts and styles, and loads
    nothing from afar.
    """
    answer = client.get("/admin/")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert not re.search(r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html)
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    return html


def read_text(client):
    """What a person reads, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", read_page(client)).split())


def create_record(token=None, at=None, **fields):
    """A usage row; `fields` may be an outcome and reason of its one attempt."""
    pk = (
        UUID(new_request_id().removeprefix("req_"))
        if at is None
        else UUID(int=first_id_at(at).int + 1)
    )
    outcome, reason = fields.pop("outcome", "answered"), fields.pop("reason", "")
    attempt = {
        "provider": "k2",
        "token": str(token.pk) if token else None,
        "outcome": outcome,
        "reason": reason,
    }
    given = {
        "endpoint": "chat/completions",
        "model": "kimi-k2",
        "stream": False,
        "status": Status.COMPLETE,
    }
    attempts = {"attempts": [attempt] if outcome else []}
    return UsageRecord.objects.create(
        id=pk, started_at=at or timezone.now(), **given | attempts | fields
    )
