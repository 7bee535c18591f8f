"""Tiny questions to an upstream that show what its dialect is like."""
