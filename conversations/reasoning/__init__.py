"""Prompts and parsers of the strategies, without I/O."""
