"""The keeper of the embedded worker and beat: however they end, they begin again, and it is known
meanwhile.
"""

import threading

import pytest

from api.views.health import failed
from proxysite import celery


@pytest.fixture
def kept(monkeypatch):
    """Keeps a deed; its thread is left waiting at the end."""
    monkeypatch.setattr(celery, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    yield lambda deed: threading.Thread(
        target=celery.ever, args=("worker", deed), daemon=True
    ).start()
    failed("worker").unlink(missing_ok=True)


@pytest.mark.parametrize("error", [None, ValueError("half a message"), SystemExit(1)], ids=repr)
def test_what_ended_begins_again_and_is_called_failed_until_it_works(kept, error, caplog):
    begun, works, forever = [], threading.Event(), threading.Event()

    def deed():
        begun.append(threading.current_thread())
        if len(begun) < 3:
            if error:
                raise error
            return
        works.set()
        forever.wait()

    kept(deed)
    assert works.wait(10)
    assert len(set(begun)) == 3
    assert failed("worker").exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    celery.ran("worker")
    assert not failed("worker").exists()
