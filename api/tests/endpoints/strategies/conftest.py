"""Models that answer by a strategy, and the traces of their requests."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """Let no time pass between two tries of a step."""
    monkeypatch.setattr("conversations.strategies.stepwise.step_sequence.PAUSE_SECONDS", 0)


def make_creator(gateway, name, strategy):
    """Return a function that makes a model of this strategy, with the options that it is given."""

    async def create_model(**options):
        await run_in_thread(rows.create_virtual_model, name, "m", strategy, **options)
        await gateway.reload_rows()

    return create_model


@pytest.fixture
def create_stepwise_model(gateway):
    """Return a function that makes the model `o1-m`, which thinks in steps."""
    return make_creator(gateway, "o1-m", "stepwise")


@pytest.fixture
def create_multipath_model(gateway):
    """Return a function that makes the model `mpr-m`, which answers by several paths."""
    return make_creator(gateway, "mpr-m", "multipath")


@pytest.fixture
def recorded_traces(gateway, monkeypatch):
    """Return the traces of all requests, as the ledger got them."""
    found, recorded = [], gateway.inner.ledger.record_batches

    def noted(trace, batches):
        found.append(trace)
        return recorded(trace, batches)

    monkeypatch.setattr(gateway.inner.ledger, "record_batches", noted)
    return found
