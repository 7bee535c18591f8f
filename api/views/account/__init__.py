"""Endpoints for the owner of an API key: its rights, its usage and its requests."""
