"""The writer of the configured database, as the ledger's tests have it."""

from api.tests.accounting.conftest import writer

__all__ = ["writer"]
