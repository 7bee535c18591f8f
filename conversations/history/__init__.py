"""Turns of conversations: start one, load its context, finish it."""
