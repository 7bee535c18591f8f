"""Anthropic's Messages API as an endpoint, over the same chunks as chat completions."""
