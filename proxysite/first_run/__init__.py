"""The first use of a home: its database, first user, first API key and imported settings."""
