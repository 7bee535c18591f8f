"""Chunks of an answer as events of the Messages API, or as one message."""
