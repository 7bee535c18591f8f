"""Which providers are valid, and which of them the database refuses."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from providers.choices import Rotation
from providers.models import Provider
from providers.tests.models.rows import find_problem_fields, make_provider

pytestmark = pytest.mark.django_db


def test_a_provider_as_the_help_texts_have_it_is_valid() -> None:
    row = make_provider(headers={"OpenAI-Organization": "org-1"}, connect_seconds=0.5)
    assert find_problem_fields(row) == set()
    row.save()
    assert Provider.objects.get() == row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("name", name)
            for name in (
                "",
                "Moonshot",
                "a b",
                "-a",
                "_a",
                "ä",
                "a/b",
                "a\n",
                "\na",
                "a" * 65,
                "a\0",
            )
        ),
        ("kind", "no_such_adapter"),
        ("kind", "../adapters/echo"),
        *(
            ("base_url", url)
            for url in (
                "",
                "nothing",
                "http://api.example.com",
                "https://127.0.0.1/v1",
                "https://a@b.c",
            )
        ),
        ("rotation", "whatever"),
        *(("connect_seconds", seconds) for seconds in (0, -1, 0.001)),
        *((name, 0) for name in ("first_byte_seconds", "gap_seconds", "total_seconds")),
    ],
    ids=repr,
)
def test_a_provider_that_cannot_work_is_refused_with_the_field(field: str, value: Any) -> None:
    assert find_problem_fields(make_provider(**{field: value})) == {field}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        "",
        "X: y",
        5,
        {"X-A": 5},
        {"X-A": None},
        {"X-A": "a\r\nHost: evil"},
        {"X-A": "a\nb"},
        {"X-A": "a\0"},
        {"X-A": "é"},
        {"X-A\r\nY": "a"},
        {"X A": "a"},
        {"X-A:": "a"},
        {"": "a"},
        {"-": "a"},
        {"é": "a"},
        *(
            {name: "a"}
            for name in (
                "Host",
                "AUTHORIZATION",
                "Cookie",
                "content-length",
                "Transfer-Encoding",
                "x-api-key",
            )
        ),
        *(
            {name: "a"}
            for name in (
                "Connection",
                "Accept-Encoding",
                "X-Forwarded-For",
                "Expect",
                "Proxy-Authorization",
            )
        ),
    ],
    ids=repr,
)
def test_headers_that_would_break_or_forge_a_request_are_refused(headers: Any) -> None:
    assert find_problem_fields(make_provider(headers=headers)) == {"headers"}


@pytest.mark.parametrize(
    "changes",
    [
        {"limit_fields": "max_tokens"},
        {"limit_field": 5},
        {"refused_fields": "seed"},
        {"leaked_forms": ["klingon"]},
        {"leaked_forms": ["kimi", "fences"]},
    ],
    ids=repr,
)
def test_changes_that_no_dialect_knows_are_refused(changes: Any) -> None:
    assert find_problem_fields(make_provider(dialect_changes=changes)) == {"dialect_changes"}


def test_changes_of_the_dialect_may_name_the_forms_of_calls_that_slip_in() -> None:
    for forms in ([], ["kimi"], ["kimi", "tags"]):
        assert find_problem_fields(make_provider(dialect_changes={"leaked_forms": forms})) == set()


def test_a_base_url_is_kept_without_its_last_slash() -> None:
    row = make_provider(base_url="https://api.example.com/v1/")
    row.full_clean()
    assert row.base_url == "https://api.example.com/v1"


def test_a_private_base_url_needs_the_flag() -> None:
    assert find_problem_fields(make_provider(base_url="http://127.0.0.1:11434/v1")) == {"base_url"}
    assert (
        find_problem_fields(make_provider(base_url="http://127.0.0.1:11434/v1", allow_private=True))
        == set()
    )


def test_an_adapter_without_an_address_needs_no_base_url() -> None:
    assert find_problem_fields(make_provider(kind="echo", base_url="")) == set()


def test_two_providers_cannot_share_a_name() -> None:
    make_provider().save()
    assert find_problem_fields(make_provider()) == {"name"}
    with pytest.raises(IntegrityError), transaction.atomic():
        make_provider().save()


@pytest.mark.parametrize(
    "fields",
    [
        {"rotation": "whatever"},
        *({f"{name}_seconds": 0} for name in ("connect", "first_byte", "gap", "total")),
    ],
    ids=repr,
)
def test_the_database_refuses_what_skipped_validation(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_provider(**fields).save()


@pytest.mark.parametrize("rotation", Rotation.values)
def test_every_rotation_can_be_saved(rotation: str) -> None:
    make_provider(rotation=rotation).save()
    assert Provider.objects.get().rotation == rotation
