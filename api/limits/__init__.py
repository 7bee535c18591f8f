"""Limits of API keys, users, teams and end users: their values, and how requests keep to them."""
