"""The ledger: exactly one usage record for each accepted request."""
