"""The answer as a response object and its events."""
