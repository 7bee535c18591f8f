"""Prompts that are longer than the window of their model."""
