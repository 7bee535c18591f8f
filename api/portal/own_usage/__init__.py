"""The usage, limits and requests of the user."""
