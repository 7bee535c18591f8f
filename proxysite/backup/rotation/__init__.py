"""Seal every secret in the database anew with the newest key of FIELD_KEYS."""
