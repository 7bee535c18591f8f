"""Responses that are answered in the background, and their listeners."""
