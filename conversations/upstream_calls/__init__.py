"""The upstream calls that a strategy makes for one request."""
