"""Tokens and accounts from files."""
