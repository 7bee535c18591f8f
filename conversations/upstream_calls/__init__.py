"""The calls that a strategy makes for one request."""
