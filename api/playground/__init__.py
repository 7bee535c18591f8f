"""The playground: a page that tries models through /v1 with a short-lived key of the session."""
