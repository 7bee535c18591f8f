"""A table that is not as the program needs it is a fault that the log shows, not a database that is
away.
"""

import pytest
from django.db import InterfaceError, connection

from api.authentication import credentials
from providers.database import database_errors


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch):
    monkeypatch.setattr(database_errors, "_logged_at", {})


def missing_column(*args):
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM api_apikey")


@pytest.mark.parametrize(
    "method_and_path", [("POST", "/v1/chat/completions"), ("GET", "/v1/files")]
)
async def test_a_missing_column_is_a_500_with_a_log_line(
    gateway, alice, caplog, monkeypatch, method_and_path
):
    monkeypatch.setattr(credentials, "load_caller", missing_column)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await gateway.send_request(*method_and_path, alice.key, json=body)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "no_such_column" not in answer.body.decode()
    assert "no_such_column" in caplog.text
    assert "Traceback" in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    "method_and_path", [("POST", "/v1/chat/completions"), ("GET", "/v1/files")]
)
async def test_a_lost_connection_is_a_503(gateway, alice, caplog, monkeypatch, method_and_path):
    def lost(*args):
        raise InterfaceError("the connection is closed")

    monkeypatch.setattr(credentials, "load_caller", lost)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await gateway.send_request(*method_and_path, alice.key, json=body)
    assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
    caplog.clear()  # Django logs every 503
