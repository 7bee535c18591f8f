"""Sums of short slots and distributions of answer times, for pages about a span of time."""
