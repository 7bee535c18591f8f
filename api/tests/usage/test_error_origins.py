"""Whose fault an error was."""

import pytest
from django.db import connection

from api.usage.error_origins import find_origin, render_origin
from providers.exceptions import GatewayError

CASES = [
    ("complete", 200, "", ""),
    ("refused", 429, "rate_limit_exceeded", ""),
    ("abandoned", 499, "", ""),
    ("interrupted", None, "", "ours"),
    ("error", 500, "internal_error", "ours"),
    ("error", 503, "database_unavailable", "ours"),
    ("error", 503, "no_available_token", "upstream"),
    ("error", 429, "rate_limit_exceeded", "upstream"),
    ("error", 502, "upstream_failed", "upstream"),
    ("truncated", 502, "upstream_disconnected", "upstream"),
    ("error", 504, "deadline_exceeded", "upstream"),
    ("error", 400, "invalid_value", "caller"),
    ("error", 404, "model_not_found", "caller"),
    ("error", 400, "context_length_exceeded", "caller"),  # a code that the upstream chose
    ("error", 529, "overloaded", "upstream"),
    ("error", None, "", "upstream"),
]


@pytest.mark.parametrize(("status", "http_status", "code", "origin"), CASES)
def test_an_error_has_its_origin(
    status: str, http_status: int | None, code: str, origin: str
) -> None:
    assert find_origin(status, http_status, code) == origin


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "http_status", "code", "origin"), CASES)
def test_the_database_finds_the_same_origin(
    status: str, http_status: int | None, code: str, origin: str
) -> None:
    columns = "CAST(%s AS text) AS status, CAST(%s AS integer) AS http_status"
    query = f"SELECT {render_origin()} FROM (SELECT {columns}, CAST(%s AS text) AS error_code) AS r"
    with connection.cursor() as cursor:
        cursor.execute(query, [status, http_status, code])
        assert cursor.fetchone()[0] == origin


def test_each_error_of_this_gateway_has_an_origin() -> None:
    def list_classes(base: type[GatewayError]) -> list[type[GatewayError]]:
        return [base, *(one for derived in base.__subclasses__() for one in list_classes(derived))]

    for error in list_classes(GatewayError):
        assert find_origin("error", error.status, error.code or "") in (
            "ours",
            "upstream",
            "caller",
        )
