"""Rows of limits, and new secrets of API keys."""
