"""A receiver that the settings name."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.tests.alerts.receiver import SECRET, Receiver, run_receiver


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.alerts.event_records.send_delivery_task", lambda: None)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with run_receiver() as receiver:
        settings.ALERT_WEBHOOK_URL = receiver.url
        settings.ALERT_WEBHOOK_SECRET = SECRET
        settings.ALERT_ALLOW_PRIVATE = True
        yield receiver
