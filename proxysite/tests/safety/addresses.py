"""Every address of the resolver, with the rows that its parameters need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from proxysite.tests.safety import expectations
from proxysite.tests.safety.expectations import (
    API_KEY,
    LEFT_OUT,
    MODEL_PAGES,
    OTHER_RIGHTS,
    PAGES,
    PARAMETERS,
    POST_ONLY,
    POST_ONLY_ROW_PAGES,
    ROW_PAGES,
)

MODEL_PATTERN = re.compile(r"admin/(\w+)/(\w+)/(.*)")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
Rows = dict[str, Model]


@dataclass(frozen=True)
class Address:
    """An address to open, and who may; `change` is who may send its form, if others."""

    pattern: str
    path: str
    may: str
    may_post: str
    is_post_only: bool = False
    is_json: bool = False


def list_patterns(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the pattern and the name of each address."""
    for entry in (resolver or get_resolver()).url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from list_patterns(entry, pattern)
        elif isinstance(entry, URLPattern):
            yield pattern, entry.name or ""


def is_left_out(pattern: str) -> bool:
    return any(
        pattern.startswith(part) if part.startswith("admin/") else pattern.endswith(part)
        for part in LEFT_OUT
    )


def make_address(pattern: str, name: str, rows: Rows) -> Address:
    """Return the address of a pattern. Raises KeyError where there is no expectation."""
    if pattern.startswith(("v1/", "^v1/")):
        path = PARAMETER.sub("x", pattern).replace("^", "")
        path = re.sub(r"\(\?P<\w+>(\w+-)\[\^/\]\*\)\$?", r"\1x", path).rstrip("$")
        return Address(pattern, f"/{path}", API_KEY, API_KEY)
    if pattern == r"^v1(/.*)?$":
        return Address(pattern, "/v1/nothing", PAGES[pattern], PAGES[pattern])
    match = MODEL_PATTERN.fullmatch(pattern)
    if match and f"{match[1]}.{match[2]}" in MODEL_PAGES:
        return make_model_address(pattern, name, rows)
    may = PAGES[pattern]
    path = PARAMETER.sub(lambda parameter: PARAMETERS[parameter[1]], pattern)
    is_json = pattern in expectations.JSON_PAGES
    is_post_only = pattern in POST_ONLY
    may_post = expectations.CHANGES_TOKENS if is_json and not is_post_only else may
    return Address(pattern, f"/{path}", may, may_post, is_post_only, is_json)


def make_model_address(pattern: str, name: str, rows: Rows) -> Address:
    match = MODEL_PATTERN.fullmatch(pattern)
    assert match is not None
    model = f"{match[1]}.{match[2]}"
    page = name.removeprefix(f"{match[1]}_{match[2]}_")
    rights = MODEL_PAGES[model]
    may = OTHER_RIGHTS.get((model, page)) or getattr(rights, ROW_PAGES[page])
    may_post = rights.change if page == "change" else may
    path = PARAMETER.sub(lambda _: quote(str(rows[model].pk)), pattern)
    return Address(pattern, f"/{path}", may, may_post, page in POST_ONLY_ROW_PAGES)


def list_addresses(rows: Rows) -> list[Address]:
    """Return every address; an address without an expectation fails the test with its pattern."""
    addresses = []
    unknown = []
    for pattern, name in list_patterns():
        if is_left_out(pattern):
            continue
        try:
            addresses.append(make_address(pattern, name, rows))
        except KeyError as error:
            unknown.append(f"{pattern} ({name}): {error}")
    assert not unknown, f"no expectation in {expectations.__name__}: {unknown}"
    return addresses


def create_rows(admin: User) -> Rows:
    """Write one row of each model that has pages, and return them by `app.model`."""
    from axes.models import AccessAttempt, AccessFailureLog, AccessLog
    from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

    from api import keys
    from api.models import (
        AlertDelivery,
        AlertEvent,
        AlertKind,
        Batch,
        Invitation,
        Price,
        Team,
        UsageRecord,
    )
    from conversations.models import Conversation, Document, StoredFile
    from providers.models import (
        ChatModel,
        Deletion,
        McpServer,
        ModelAlias,
        Provider,
        TaskProgress,
        VirtualModel,
    )
    from proxysite.models import AuditEntry, LoginSession
    from proxysite.testing import rows
    from tokens.models import ImportBatch, UpstreamAccount

    person = User.objects.create_user("owner")
    provider = Provider.objects.create(name="p", kind="echo", base_url="https://p.example/v1")
    model = ChatModel.objects.create(public_id="m", provider=provider, upstream_name="m")
    (token,) = rows.create_tokens(provider, "sk-safety-0001")
    event = AlertEvent.objects.create(kind=AlertKind.values[0], subject_kind="key", subject_id="1")
    interval = IntervalSchedule.objects.create(every=1, period="days")
    attempt = {"username": "x", "ip_address": "192.0.2.1", "user_agent": "", "path_info": "/"}
    made = [
        person,
        provider,
        model,
        token,
        event,
        interval,
        Group.objects.create(name="G"),
        AlertDelivery.objects.create(event=event, channel="email", address="a@b.example"),
        Batch.objects.create(user=person, expires_at=timezone.now() + timedelta(days=1)),
        keys.create_key(person)[0],
        Price.objects.create(
            provider=provider, upstream_model="m", valid_from=timezone.now(), prompt_usd=1
        ),
        Team.objects.create(name="T"),
        UsageRecord.objects.create(
            started_at=timezone.now(),
            endpoint="chat/completions",
            model="m",
            stream=False,
            status="complete",
        ),
        AccessAttempt.objects.create(**attempt, failures_since_start=1),
        AccessFailureLog.objects.create(**attempt),
        AccessLog.objects.create(**attempt),
        Conversation.objects.create(user=person, kind="open"),
        Document.objects.create(user=person),
        StoredFile.objects.create(user=person, filename="a.txt", size_bytes=1, purpose="user_data"),
        CrontabSchedule.objects.create(),
        PeriodicTask.objects.create(name="t", task="t", interval=interval),
        Deletion.objects.create(model="auth.user", object_id="1", ids=["1"], name="x"),
        ModelAlias.objects.create(alias="a", public_id="m"),
        VirtualModel.objects.create(public_id="v", base="m", strategy="stepwise"),
        McpServer.objects.create(label="m", url="https://mcp.example/mcp"),
        AuditEntry.objects.create(actor_name="x", action="done"),
        ImportBatch.objects.create(provider=provider),
        Invitation.objects.create(digest="x", expires_at=timezone.now() + timedelta(days=1)),
        LoginSession.objects.create(user=admin, session_key="s"),
        UpstreamAccount.objects.create(provider=provider, email="a@b.example", sealed="x"),
    ]
    TaskProgress.objects.create(pk=PARAMETERS["task_id"], kind="test", title="t")
    Session.objects.create(session_key="s", expire_date=timezone.now() + timedelta(days=1))
    LogEntry.objects.all().delete()
    return {row._meta.label_lower: row for row in made}
