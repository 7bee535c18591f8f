"""The keeper of the embedded worker and beat: however they end, they begin again, and it is known
meanwhile.
"""

import threading

import pytest

from api.views.health import failure_marker_path
from proxysite import celery


@pytest.fixture
def kept(monkeypatch):
    """Keeps a deed; its thread is left waiting at the end."""
    monkeypatch.setattr(celery, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    yield lambda deed: threading.Thread(
        target=celery.keep_part_running, args=("worker", deed), daemon=True
    ).start()
    failure_marker_path("worker").unlink(missing_ok=True)


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
    assert failure_marker_path("worker").exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    celery.delete_failure_mark("worker")
    assert not failure_marker_path("worker").exists()
