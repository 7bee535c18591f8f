"""Tools that the gateway runs itself, between the upstream calls of one request."""
