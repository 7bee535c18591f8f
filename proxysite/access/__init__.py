"""Limits on logins and password hashing."""
