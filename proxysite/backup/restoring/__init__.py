"""The way of a backup into an empty home and database."""
